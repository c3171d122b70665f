class RemoveResultFromTasks < ActiveRecord::Migration[7.2]
  # What the column held cannot be made again: this is one of two things that are bad about the release.
  def up
    remove_column :tasks, :result
  end

  def down
    raise ActiveRecord::IrreversibleMigration
  end
end
