# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class PostStatusService
  REMEMBER = 3600

  # Saves in this process, then only enqueues: without Sidekiq a post is
  # accepted and stays unseen; without Redis it is not accepted.
  def call(account, text:, visibility: nil, media_ids: nil, idempotency: nil)
    key = "idempotency:status:#{account.id}:#{idempotency}" if idempotency.present?
    known = key && Mastodon::RedisConfiguration.with { |redis| redis.get(key) }
    return account.statuses.find(known) if known

    status = ApplicationRecord.transaction do
      account.statuses.create!(text: text, visibility: visibility.presence || 'public').tap do |created|
        account.media_attachments.where(id: media_ids).update_all(status_id: created.id) if media_ids.present?
        created.update!(uri: "https://#{ENV.fetch('LOCAL_DOMAIN')}/users/#{account.username}/statuses/#{created.id}")
      end
    end
    DistributionWorker.perform_async(status.id)
    Standin::IndexWorker.perform_async(status.id) if ENV['ES_ENABLED'] == 'true'
    ActivityPub::DeliveryWorker.perform_async({ id: status.uri }.to_json, account.id, 'https://remote.test/inbox')
    Mastodon::RedisConfiguration.with { |redis| redis.setex(key, REMEMBER, status.id) } if key
    status
  end
end
