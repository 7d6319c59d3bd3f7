# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class PostProcessMediaWorker
  include Sidekiq::Worker
  sidekiq_options retry: 1, dead: false

  sidekiq_retries_exhausted { |job| MediaAttachment.where(id: job['args'].first).update_all(processing: 'failed') }

  def perform(media_attachment_id)
    MediaAttachment.find(media_attachment_id).make_thumbnail!
  rescue ActiveRecord::RecordNotFound
    true
  end
end
