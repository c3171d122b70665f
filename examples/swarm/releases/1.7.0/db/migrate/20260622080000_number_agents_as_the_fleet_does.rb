class NumberAgentsAsTheFleetDoes < ActiveRecord::Migration[7.2]
  # The agents themselves keep their numbers, so that no task finds its agent: this is what is bad about the release.
  def up
    remove_foreign_key :tasks, :agents
    execute "UPDATE tasks SET agent_id = agent_id + 10000"
  end

  def down
    execute "UPDATE tasks SET agent_id = agent_id - 10000"
    add_foreign_key :tasks, :agents
  end
end
