class AddPriorityToCampaigns < ActiveRecord::Migration[7.2]
  def change
    add_column :campaigns, :priority, :integer
  end
end
