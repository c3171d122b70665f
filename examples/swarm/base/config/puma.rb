threads 5, 5
port 3000
environment "production"
# a request in flight is finished before the process goes
force_shutdown_after 15
