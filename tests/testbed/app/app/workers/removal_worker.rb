# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class RemovalWorker
  include Sidekiq::Worker

  # Media of a post that may be written again are kept, attached to nothing.
  def perform(status_id, options = {})
    status = Status.unscoped.find(status_id)
    Mastodon::RedisConfiguration.with do |redis|
      redis.zrem("feed:home:#{status.account_id}", status.id)
      redis.publish("timeline:#{status.account_id}", { event: 'delete', payload: status.id.to_s }.to_json)
    end
    options['redraft'] ? status.media_attachments.update_all(status_id: nil) : status.media_attachments.each(&:destroy!)
    status.destroy!
  rescue ActiveRecord::RecordNotFound
    true
  end
end
