# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Api::V1::Accounts::StatusesController < Api::BaseController
  PAGE = 20
  LONGEST = 40

  before_action -> { require_scope!('read:statuses') if access_token }

  def index
    account = Account.find(params[:account_id])
    statuses = account.statuses.order(id: :desc).limit((params[:limit] || PAGE).to_i.clamp(1, LONGEST))
    statuses = statuses.where('id < ?', params[:max_id]) if params[:max_id]
    statuses = statuses.where(visibility: %w(public unlisted)) unless current_user&.account == account
    render json: statuses.includes(:account, :media_attachments)
  end
end
