# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Api::V1::InstancesController < Api::BaseController
  def show
    expires_in 3.minutes, public: true
    render json: {
      uri: ENV.fetch('LOCAL_DOMAIN'), title: 'Stand-in', version: Mastodon::Version.to_s,
      urls: { streaming_api: "wss://#{ENV.fetch('LOCAL_DOMAIN')}" },
      stats: { user_count: User.count, status_count: Status.count, domain_count: 0 }
    }
  end
end
