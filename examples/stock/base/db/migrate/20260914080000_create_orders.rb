class CreateOrders < ActiveRecord::Migration[7.2]
  def change
    create_table :customers do |t|
      t.string :name, null: false
      t.timestamps
    end
    create_table :orders do |t|
      t.references :customer, foreign_key: true
      t.string :note, null: false
      t.timestamps
    end
  end
end
