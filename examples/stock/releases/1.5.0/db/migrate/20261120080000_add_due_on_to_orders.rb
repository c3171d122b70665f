class AddDueOnToOrders < ActiveRecord::Migration[7.2]
  def up
    add_column :orders, :due_on, :date
    add_index :orders, :due_on
    execute "UPDATE orders SET due_on = created_at::date + 14"
  end

  def down
    remove_column :orders, :due_on
  end
end
