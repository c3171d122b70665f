class FillPriorityOfCampaigns < ActiveRecord::Migration[7.2]
  class Campaign < ActiveRecord::Base
  end

  def up
    Campaign.in_batches do |campaigns|
      campaigns.update_all("priority = CASE status WHEN 'running' THEN 1 ELSE 2 END")
    end
    change_column_default :campaigns, :priority, 2
    change_column_null :campaigns, :priority, false
  end

  def down
    change_column_null :campaigns, :priority, true
    change_column_default :campaigns, :priority, nil
    Campaign.in_batches { |campaigns| campaigns.update_all(priority: nil) }
  end
end
