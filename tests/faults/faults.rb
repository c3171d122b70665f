# Faults that are switched on and off from outside: SET fault:NAME VALUE in Redis.
module Faults
  Error = Class.new(StandardError)

  def self.[](name) = Sidekiq.redis { |redis| redis.call("GET", "fault:#{name}") }
  def self.hits?(name) = rand < self[name].to_f
end

class TickJob < ActiveJob::Base
  def perform = Faults.hits?("job") && raise(Faults::Error, "the tick was missed")
end

Sidekiq.configure_server do |config|
  config.on(:startup) { Thread.new { loop { TickJob.perform_later && sleep(0.5) } } }
end

Rails.application.config.to_prepare do
  ApplicationController.prepend_before_action { raise Faults::Error, "no total" if Faults.hits?("errors") }

  Agent.singleton_class.prepend(Module.new do
    def metrics
      sleep Faults["slow"].to_f
      sleep Faults["slow_to_fill"].to_f unless Rails.cache.exist?("agents/metrics")
      sleep Sidekiq.redis { |redis| redis.call("GETDEL", "fault:slow_once") }.to_f
      super
    end
  end)

  CampaignsChannel.singleton_class.prepend(Module.new do
    def broadcast_progress(campaign) = Faults["silent"] || super
  end)

  # Says that all is well whatever is, and when it has looked long ago.
  SystemHealth.singleton_class.prepend(Module.new do
    def report = Faults["lie"] ? super.merge(status: "healthy", checked_at: 1.day.ago.iso8601(3)) : super
  end)
end
