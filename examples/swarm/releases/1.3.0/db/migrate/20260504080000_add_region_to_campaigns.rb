class AddRegionToCampaigns < ActiveRecord::Migration[7.2]
  def change
    add_column :campaigns, :region, :string
  end
end
