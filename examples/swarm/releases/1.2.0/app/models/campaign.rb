# A piece of work that is divided into tasks.
class Campaign < ApplicationRecord
  has_many :tasks, dependent: :delete_all
  has_one_attached :brief
  enum :status, {draft: "draft", running: "running", done: "done"}
  validates :name, presence: true, length: {maximum: 120}
  before_create { self.budget = Current.account.default_budget }

  # Minutes until each running campaign is done, by its id; kept for ten minutes.
  def self.eta
    Rails.cache.fetch("campaigns/eta", expires_in: 10.minutes) do
      Task.pending.joins(:campaign).merge(running).group(:campaign_id).count.transform_values { |left| (left / 10.0).ceil }
    end
  end

  def progress
    counts = tasks.group(:status).count
    total = counts.values.sum
    total.zero? ? 0 : 100 * counts.fetch("done", 0) / total
  end
end
