# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)

Sidekiq.configure_server do |config|
  config.redis = Mastodon::RedisConfiguration.sidekiq
  config.server_middleware { |chain| chain.add Mastodon::SidekiqMiddleware }
end
Sidekiq.configure_client { |config| config.redis = Mastodon::RedisConfiguration.sidekiq }

Sidekiq.logger.level = Logger.const_get(ENV.fetch('RAILS_LOG_LEVEL', 'info').upcase)
