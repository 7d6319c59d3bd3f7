# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
module Mastodon
  class Error < StandardError; end
  class RateLimitExceededError < Error; end

  # Counts what an account did. Redis is written before the row is, so a Redis
  # that does not take writes turns a new post away.
  class RateLimiter
    LIMIT = ENV.fetch('STANDIN_STATUS_LIMIT', 300).to_i
    PERIOD = 10_800

    def self.record!(account, family)
      window = Time.now.to_i / PERIOD
      key = "rate_limit:#{account.id}:#{family}:#{window}"
      count = RedisConfiguration.with do |redis|
        redis.incr(key).tap { redis.expire(key, PERIOD) }
      end
      raise RateLimitExceededError if count > LIMIT
    end
  end
end
