# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Api::V1::StatusesController < Api::BaseController
  before_action :require_user!, only: :create

  def show
    render json: Status.find(params[:id])
  end

  def create
    status = PostStatusService.new.call(
      current_account,
      text: params[:status].to_s,
      visibility: params[:visibility],
      media_ids: params[:media_ids],
      idempotency: request.headers['Idempotency-Key']
    )
    render json: status
  end
end
