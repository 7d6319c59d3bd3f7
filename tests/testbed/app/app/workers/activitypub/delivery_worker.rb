# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Nothing leaves the box: remote.test, where posts go, does not exist and is left alone. Other servers are asked for real.
class ActivityPub::DeliveryWorker
  include Sidekiq::Worker
  sidekiq_options queue: 'push', retry: 16, dead: false

  def perform(json, source_account_id, inbox, _options = {})
    Account.find(source_account_id)
    Remote.deliver(inbox, json) unless URI(inbox).host == 'remote.test'
  end
end
