class IndexCampaignsByPriority < ActiveRecord::Migration[7.2]
  def change
    add_index :campaigns, [:priority, :id]
  end
end
