# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
Rails.application.configure do
  config.eager_load = true
  config.consider_all_requests_local = false
  config.action_controller.perform_caching = true
  config.public_file_server.enabled = ENV['RAILS_SERVE_STATIC_FILES'] == 'true'
  config.active_record.dump_schema_after_migration = false
  config.i18n.fallbacks = [:en]
  config.cache_store = :redis_cache_store, Mastodon::RedisConfiguration.cache

  # A file under the app root is Rails' own error page; nginx adds its own.
  config.exceptions_app = ActionDispatch::PublicExceptions.new(Rails.public_path)

  config.log_level = ENV.fetch('RAILS_LOG_LEVEL', 'info').to_sym
  config.log_tags = [:request_id]
  config.logger = Mastodon::LogFormat.logger($stdout)
  config.lograge.enabled = true
  config.lograge.formatter = Mastodon::LogFormat.lograge

  # Both reject requests that did not come through the proxy as configured.
  domain = ENV.fetch('LOCAL_DOMAIN') { "localhost:#{ENV.fetch('PORT', 3000)}" }
  config.hosts << domain
  config.hosts.concat([ENV['WEB_DOMAIN'], *ENV['ALTERNATE_DOMAINS'].to_s.split(/\s*,\s*/)].compact)
  config.host_authorization = { exclude: ->(request) { request.path == '/health' } }
  config.force_ssl = true
  config.ssl_options = { redirect: { exclude: ->(request) { request.path.start_with?('/health') } } }

  if ENV['TRUSTED_PROXY_IP']
    config.action_dispatch.trusted_proxies = ENV['TRUSTED_PROXY_IP'].split(/[\s,]+/).map { |ip| IPAddr.new(ip) }
  end
end
