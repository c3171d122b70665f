class FillPriorityOfCampaigns < ActiveRecord::Migration[7.2]
  class Campaign < ActiveRecord::Base
  end

  def up
    Campaign.in_batches { |campaigns| campaigns.update_all("priority = 1 + id % 3") }
    change_column_default :campaigns, :priority, 2
    change_column_null :campaigns, :priority, false
  end

  def down
    change_column_null :campaigns, :priority, true
    change_column_default :campaigns, :priority, nil
  end
end
