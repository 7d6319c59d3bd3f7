# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require 'connection_pool'

module Mastodon
  # Where each kind of Redis data lives: SIDEKIQ_ and CACHE_ keys fall back to
  # the plain ones.
  module RedisConfiguration
    class << self
      def url(prefix = '')
        own = ENV["#{prefix}REDIS_URL"]
        return own if own.to_s != ''
        return url if prefix != '' && ENV["#{prefix}REDIS_HOST"].to_s == ''

        password = ENV["#{prefix}REDIS_PASSWORD"].to_s
        user = ENV["#{prefix}REDIS_USER"].to_s
        auth = password == '' ? '' : "#{user}:#{URI.encode_www_form_component(password)}@"
        host, port, db = { 'HOST' => 'localhost', 'PORT' => '6379', 'DB' => '0' }.map do |key, default|
          ENV["#{prefix}REDIS_#{key}"].to_s == '' ? default : ENV["#{prefix}REDIS_#{key}"]
        end
        "redis://#{auth}#{host}:#{port}/#{db}"
      end

      def base
        { url: url, driver: :ruby }
      end

      def sidekiq
        { url: url('SIDEKIQ_'), driver: :ruby }
      end

      def cache
        { url: url('CACHE_'), driver: :ruby, namespace: 'cache', expires_in: 10.minutes, connect_timeout: 5 }
      end

      # The application's own pool: feeds, locks, rate limits, streaming events.
      def with(&block)
        @pool ||= ConnectionPool.new(size: pool_size, timeout: 5) { Redis.new(**base) }
        @pool.with(&block)
      end

      def pool_size
        Sidekiq.server? ? sidekiq_concurrency : ENV.fetch('MAX_THREADS', 5).to_i
      end

      def sidekiq_concurrency
        return Sidekiq.default_configuration.total_concurrency if Sidekiq.respond_to?(:default_configuration)

        Sidekiq.options[:concurrency]
      end
    end
  end
end
