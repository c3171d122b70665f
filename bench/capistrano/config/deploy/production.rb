# frozen_string_literal: true

server ENV.fetch("ADDRESS"), user: "deploy", roles: %w[app]
set :ssh_options, {
  keys: [ENV.fetch("KEY")], keys_only: true, auth_methods: %w[publickey],
  user_known_hosts_file: ENV.fetch("KNOWN_HOSTS"), verify_host_key: :always
}
