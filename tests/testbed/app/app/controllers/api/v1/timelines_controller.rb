# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Api::V1::TimelinesController < Api::BaseController
  PAGE = 20

  before_action :require_user!, only: :home

  def public
    render json: Status.where(visibility: 'public').order(id: :desc).limit(PAGE).includes(:account, :media_attachments)
  end

  # Filled by DistributionWorker: a post shows up here once its job is done.
  def home
    ids = Mastodon::RedisConfiguration.with { |redis| redis.zrevrange("feed:home:#{current_account.id}", 0, PAGE - 1) }
    render json: Status.where(id: ids).order(id: :desc).includes(:account, :media_attachments)
  end
end
