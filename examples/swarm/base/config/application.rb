require_relative "boot"

require "rails"
require "active_model/railtie"
require "active_job/railtie"
require "active_record/railtie"
require "active_storage/engine"
require "action_controller/railtie"
require "action_view/railtie"
require "action_cable/engine"

Bundler.require(*Rails.groups)

module Swarm
  VERSION = ENV.fetch("APP_VERSION", "development")

  class Application < Rails::Application
    config.load_defaults 7.2

    config.active_job.queue_adapter = :sidekiq
    config.time_zone = "UTC"
  end
end
