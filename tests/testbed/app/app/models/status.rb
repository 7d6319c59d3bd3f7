# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Status < ApplicationRecord
  MAX_CHARS = 500

  belongs_to :account
  has_many :media_attachments
  default_scope { where(deleted_at: nil) }
  validates :text, presence: true, length: { maximum: MAX_CHARS }
  before_create { Mastodon::RateLimiter.record!(account, :statuses) }

  def visible_to?(reader)
    %w(public unlisted).include?(visibility) || reader == account
  end

  def as_json(*)
    {
      id: id.to_s, created_at: created_at, visibility: visibility, content: "<p>#{ERB::Util.h(text)}</p>", uri: uri,
      account: account.as_json, media_attachments: media_attachments.map(&:as_json)
    }
  end
end
