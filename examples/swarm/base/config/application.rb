require_relative "boot"

require "rails"
require "active_record/railtie"
require "active_storage/engine"
require "active_job/railtie"
require "action_controller/railtie"
require "action_view/railtie"
require "action_cable/engine"
require "bcrypt"
require "pg"
require "redis"
require "sidekiq"

module Swarm
  VERSION = ENV.fetch("APP_VERSION", "dev")

  class Application < Rails::Application
    config.load_defaults 7.2
    config.active_job.queue_adapter = :sidekiq
    config.time_zone = "UTC"
    config.generators.system_tests = nil
  end
end
