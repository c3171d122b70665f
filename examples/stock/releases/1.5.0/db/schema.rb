ActiveRecord::Schema[7.2].define(version: 2026_11_20_080000) do
  create_table :customers do |t|
    t.string :name, null: false
    t.timestamps
  end
  create_table :orders do |t|
    t.references :customer, foreign_key: true
    t.string :note, null: false
    t.timestamps
    t.date :due_on
    t.index ["due_on"], name: "index_orders_on_due_on"
  end
end
