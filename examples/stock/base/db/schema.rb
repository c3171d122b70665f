ActiveRecord::Schema[7.2].define(version: 2026_09_14_080000) do
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
