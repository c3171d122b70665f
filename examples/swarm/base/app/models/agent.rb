# A machine that works on campaigns. It reports in by itself; nothing here calls it.
class Agent < ApplicationRecord
  has_many :tasks, dependent: :nullify
  validates :name, presence: true, uniqueness: true
  enum :status, {online: "online", offline: "offline"}

  # The figures above the agent list, kept for ten minutes: counting them reads every task.
  def self.metrics
    Rails.cache.fetch("agents/metrics", expires_in: 10.minutes) do
      {"online" => online.count, "offline" => offline.count, "tasks" => Task.group(:status).count}
    end
  end
end
