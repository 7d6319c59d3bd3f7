# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class DistributionWorker
  include Sidekiq::Worker

  def perform(status_id)
    status = Status.find(status_id)
    Mastodon::RedisConfiguration.with do |redis|
      redis.zadd("feed:home:#{status.account_id}", status.id, status.id)
      redis.publish("timeline:#{status.account_id}", { event: 'update', payload: status }.to_json)
    end
    status.update_columns(distributed_at: Time.now.utc)
  rescue ActiveRecord::RecordNotFound
    true
  end
end
