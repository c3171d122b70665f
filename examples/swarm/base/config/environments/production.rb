require "active_support/core_ext/integer/time"

Rails.application.configure do
  config.enable_reloading = false
  config.eager_load = true
  config.consider_all_requests_local = false
  config.action_controller.perform_caching = true
  config.public_file_server.headers = {"cache-control" => "public, max-age=3600"}

  config.cache_store = :redis_cache_store, {url: ENV.fetch("REDIS_URL")}
  config.active_storage.service = :local

  config.hosts = [ENV.fetch("APPLICATION_HOST")]
  config.host_authorization = {exclude: ->(request) { request.path == "/up" }}
  config.action_cable.allowed_request_origins = [%r{\Ahttps?://#{Regexp.escape(ENV.fetch("APPLICATION_HOST"))}(:\d+)?\z}]

  config.logger = ActiveSupport::TaggedLogging.new(ActiveSupport::Logger.new($stdout))
  config.log_level = :info
  config.log_tags = [:request_id]
  config.active_record.dump_schema_after_migration = false
  config.active_record.attributes_for_inspect = [:id]
end
