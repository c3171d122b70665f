class FillPriorityOfCampaigns < ActiveRecord::Migration[7.2]
  class Campaign < ActiveRecord::Base
  end

  # The default comes first: it locks the table, so that nobody writes a row without a priority while this runs.
  def up
    change_column_default :campaigns, :priority, 2
    Campaign.in_batches do |campaigns|
      campaigns.update_all("priority = CASE status WHEN 'running' THEN 1 ELSE 2 END")
    end
    change_column_null :campaigns, :priority, false
  end

  def down
    change_column_null :campaigns, :priority, true
    change_column_default :campaigns, :priority, nil
    Campaign.in_batches { |campaigns| campaigns.update_all(priority: nil) }
  end
end
