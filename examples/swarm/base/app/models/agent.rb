# A machine that works on campaigns. It reports by itself; nothing here calls it.
class Agent < ApplicationRecord
  has_many :tasks, dependent: :nullify

  enum :status, {online: "online", offline: "offline"}

  validates :name, presence: true, uniqueness: true

  # Counting reads every task, so the figures may be ten minutes old.
  def self.metrics
    Rails.cache.fetch("agents/metrics", expires_in: 10.minutes) do
      {online: online.count, offline: offline.count, tasks_done: Task.done.count, tasks_pending: Task.pending.count}
    end
  end
end
