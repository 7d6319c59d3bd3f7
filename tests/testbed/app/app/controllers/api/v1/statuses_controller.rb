# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Api::V1::StatusesController < Api::BaseController
  before_action -> { require_scope!('read:statuses') if access_token }, only: :show
  before_action -> { require_scope!('write:statuses') }, only: %i(create destroy)

  def show
    status = Status.find(params[:id])
    raise ActiveRecord::RecordNotFound unless status.visible_to?(current_user&.account)

    render json: status
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

  # Out of sight at once; the row and its media go in a job.
  def destroy
    status = current_account.statuses.find(params[:id])
    json = status.as_json
    status.update_columns(deleted_at: Time.now.utc)
    delete_media = Mastodon::Version.deletes_media? && ActiveModel::Type::Boolean.new.cast(params[:delete_media])
    RemovalWorker.perform_async(status.id, { 'redraft' => !delete_media })
    render json: json
  end
end
