class AddBudgetToCampaigns < ActiveRecord::Migration[7.2]
  def change
    add_column :campaigns, :budget, :decimal, precision: 12, scale: 2, null: false, default: 0
  end
end
