# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Not Mastodon's: a job that never succeeds.
class Standin::FailWorker
  include Sidekiq::Worker

  def perform(message = 'asked to fail')
    raise message
  end
end
