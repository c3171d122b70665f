class CreateSwarm < ActiveRecord::Migration[7.2]
  def change
    create_table :users do |t|
      t.string :email, null: false, index: {unique: true}
      t.string :password_digest, null: false
      t.timestamps
    end

    create_table :agents do |t|
      t.string :name, null: false, index: {unique: true}
      t.string :status, null: false, default: "offline"
      t.datetime :last_seen_at
      t.timestamps
    end

    create_table :campaigns do |t|
      t.string :name, null: false, index: true
      t.string :status, null: false, default: "draft"
      t.timestamps
    end

    create_table :tasks do |t|
      t.references :campaign, null: false, foreign_key: true, index: false
      t.references :agent, foreign_key: true
      t.string :status, null: false, default: "pending"
      t.jsonb :result
      t.timestamps
      t.index [:campaign_id, :status]
    end
  end
end
