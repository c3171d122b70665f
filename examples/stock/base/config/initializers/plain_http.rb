# TLS ends at the customer's own gateway.
Rails.application.config.force_ssl = false
