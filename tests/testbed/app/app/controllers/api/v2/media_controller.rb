# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Leaves what takes long (video) to Sidekiq.
class Api::V2::MediaController < Api::V1::MediaController
  private

  def delay?
    true
  end
end
