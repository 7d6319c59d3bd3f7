# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Not Mastodon's by name: tells the search server of a post, as Chewy does when ES_ENABLED is set.
class Standin::IndexWorker
  include Sidekiq::Worker

  def perform(status_id)
    Remote.index(Status.find(status_id))
  end
end
