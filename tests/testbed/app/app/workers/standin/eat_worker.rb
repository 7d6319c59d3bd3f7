# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Not Mastodon's: takes memory and holds it, to meet a limit.
class Standin::EatWorker
  include Sidekiq::Worker

  def perform(megabytes, seconds = 5)
    held = Array.new(megabytes) { "#{_1}".ljust(1_048_576, 'x') }
    sleep seconds
    held.size
  end
end
