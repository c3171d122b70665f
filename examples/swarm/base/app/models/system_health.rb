require "sidekiq/api"

# What the system is made of and how each part is, looked at once a minute at most.
class SystemHealth
  def self.report
    Rails.cache.fetch("system_health", expires_in: 1.minute) { new.report }
  end

  def report
    services = {database:, redis:, sidekiq:, agents:}
    {
      status: services.values.pluck(:status).all?("healthy") ? "healthy" : "unhealthy",
      checked_at: Time.current.iso8601(3),
      version: Swarm::VERSION,
      services:
    }
  end

  private

  def database = look { ActiveRecord::Base.connection.execute("SELECT 1") && {} }

  def redis = look { Sidekiq.redis { |connection| connection.call("PING") } && {} }

  def sidekiq = look { {processes: Sidekiq::ProcessSet.new(false).size} }

  def agents
    look do
      online = Agent.online.count
      {status: online.positive? ? "healthy" : "unhealthy", online:}
    end
  end

  def look
    {status: "healthy"}.merge(yield)
  rescue StandardError => error
    Rails.error.report(error, handled: true)
    {status: "unhealthy", error: error.class.name}
  end
end
