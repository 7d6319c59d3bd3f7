# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Not Mastodon's: keeps a Sidekiq thread busy, to build a backlog.
class Standin::SleepWorker
  include Sidekiq::Worker

  def perform(seconds)
    sleep seconds
  end
end
