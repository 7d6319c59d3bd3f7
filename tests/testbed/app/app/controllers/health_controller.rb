# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Says that Puma answers; asks neither PostgreSQL nor Redis.
class HealthController < ActionController::Base
  def show
    render plain: 'OK'
  end
end
