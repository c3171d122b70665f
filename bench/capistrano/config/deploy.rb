# frozen_string_literal: true

# What a careful shop writes for an application under Compose: build, migrate, start, wait until all is healthy, ask once.

lock "~> 3.17"

set :application, "swarm"
set :repo_url, "file:///srv/git/swarm.git"
set :branch, ENV.fetch("RELEASE", nil)
set :deploy_to, "/srv/swarm"
append :linked_files, ".env"
append :linked_dirs, "storage", "nginx/upstreams"
set :format_options, { log_file: nil, truncate: false }

def compose(place, *arguments)
  version = capture(:cat, release_path.join("VERSION"))
  within(place) { with(app_version: version) { execute :docker, :compose, *arguments } }
end

namespace :deploy do
  desc "Build the images and migrate with them"
  task :prepare do
    on roles(:app) do
      execute :echo, fetch(:branch), ">", release_path.join("VERSION")
      compose release_path, :build, "--quiet"
      compose release_path, :run, "--rm", "--no-TTY", "web", "bin/rails", "db:migrate"
    end
  end

  desc "Start the release's containers in place of what runs, and see whether it answers"
  task :restart do
    on roles(:app) do
      compose current_path, :up, "--detach", "--wait", "--wait-timeout", "120"
      # nginx has looked its addresses up once
      compose current_path, :exec, "--no-TTY", "proxy", "nginx", "-s", "reload"
      execute :curl, "--fail", "--silent", "--retry", "10", "--retry-delay", "1", "--retry-all-errors",
              "--output", "/dev/null", "--header", "'Host: swarm.example.test'", "http://127.0.0.1/up"
    end
  end

  after :updated, :prepare
  after :publishing, :restart
end
