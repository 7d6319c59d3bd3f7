# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Nothing leaves the box: the remote server of the stand-in does not exist.
class ActivityPub::DeliveryWorker
  include Sidekiq::Worker
  sidekiq_options queue: 'push', retry: 16, dead: false

  def perform(_json, source_account_id, _inbox_url, _options = {})
    Account.find(source_account_id)
  end
end
