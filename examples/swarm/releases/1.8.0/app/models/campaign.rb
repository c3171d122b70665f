# A piece of work, divided into tasks that agents do.
class Campaign < ApplicationRecord
  PRIORITIES = 1..3
  TASKS_A_MINUTE = 10

  has_many :tasks, dependent: :delete_all
  has_one_attached :brief

  enum :status, {draft: "draft", running: "running", done: "done"}

  validates :name, presence: true, length: {maximum: 120}
  validates :priority, inclusion: PRIORITIES

  before_create :take_number_from_account

  scope :named, ->(prefix) { where("starts_with(campaigns.name, ?)", prefix) }

  # Minutes left of each running campaign, by id; may be ten minutes old.
  def self.eta
    Rails.cache.fetch("campaigns/eta", expires_in: 10.minutes) do
      Task.pending.where(campaign: running).group(:campaign_id).count.transform_values { |left| left.ceildiv(TASKS_A_MINUTE) }
    end
  end

  # Gives every online agent one task.
  def plan
    tasks.insert_all!(Agent.online.order(:id).ids.map { |id| {agent_id: id} })
  end

  def urgent? = priority == PRIORITIES.first

  def progress
    counts = tasks.group(:status).count
    counts.empty? ? 0 : 100 * counts.fetch("done", 0) / counts.values.sum
  end

  private

  # Nothing sets the account: this is the other thing that is bad about the release.
  def take_number_from_account
    self.id = Current.account.next_campaign_number
  end
end
