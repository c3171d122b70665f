require "sidekiq/api"

# How the parts of the system are, looked at once a minute at most: the page is asked for often.
class SystemHealth
  KEY = "system_health"

  def self.report = Rails.cache.fetch(KEY, expires_in: 1.minute) { new.report }

  def report
    services = {"database" => database, "redis" => redis, "sidekiq" => sidekiq, "agents" => agents}
    well = services.values.all? { |service| service["status"] == "healthy" }
    {
      "status" => well ? "healthy" : "unhealthy",
      "checked_at" => Time.current.utc.iso8601(3),
      "version" => Swarm::VERSION,
      "services" => services
    }
  end

  private

  def database = checked { ActiveRecord::Base.connection.select_value("SELECT 1") && {} }

  def redis = checked { Sidekiq.redis { |connection| connection.call("PING") } && {} }

  def sidekiq = checked { {"processes" => Sidekiq::ProcessSet.new(false).size} }

  def agents = checked { {"online" => Agent.online.count} }

  def checked
    {"status" => "healthy"}.merge(yield)
  rescue StandardError => error
    {"status" => "unhealthy", "error" => error.class.name}
  end
end
