require "active_support/core_ext/integer/time"

Rails.application.configure do
  config.enable_reloading = false
  config.eager_load = true
  config.consider_all_requests_local = false
  config.action_controller.perform_caching = true

  # Browsers keep stylesheets and scripts, and ask whether a new release brought others.
  config.public_file_server.headers = {"cache-control" => "public, no-cache"}

  config.cache_store = :redis_cache_store, {url: ENV.fetch("REDIS_URL")}
  config.active_storage.service = :local

  config.hosts = [ENV.fetch("APPLICATION_HOST")]
  config.host_authorization = {exclude: ->(request) { request.path == "/up" }}

  config.logger = ActiveSupport::TaggedLogging.new(ActiveSupport::Logger.new($stdout))
  config.log_level = :info
  config.log_tags = [:request_id]

  config.active_record.dump_schema_after_migration = false
end
