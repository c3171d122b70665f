threads_count = ENV.fetch("RAILS_MAX_THREADS", 5)
threads threads_count, threads_count
port 3000

# What is being answered when SIGTERM arrives is finished, within the container's grace period.
force_shutdown_after 15
