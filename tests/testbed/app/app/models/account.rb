# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Account < ApplicationRecord
  has_one :user
  has_many :statuses
  has_many :media_attachments

  def as_json(*)
    { id: id.to_s, username: username, acct: acct }
  end

  def acct
    [username, domain].compact.join('@')
  end
end
