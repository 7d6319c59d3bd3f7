# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Api::V1::MediaController < Api::BaseController
  before_action -> { require_scope!('write:media') }

  def create
    @attachment = current_account.media_attachments.create!(upload: params.require(:file), delay: delay?)
    render json: @attachment, status: @attachment.processed? ? 200 : 202
  rescue Paperclip::Errors::NotIdentifiedByImageMagickError
    render json: { error: 'File type of uploaded media could not be verified' }, status: 422
  rescue Paperclip::Error => e
    Rails.logger.error "#{e.class}: #{e.message}"
    render json: { error: 'Error processing thumbnail for uploaded media' }, status: 500
  end

  def show
    @attachment = unattached.find(params[:id])
    status = { 'failed' => 422, 'complete' => 200 }.fetch(@attachment.processing, 206)
    render json: @attachment, status: status
  end

  def destroy
    attachment = current_account.media_attachments.find(params[:id])
    return render json: { error: 'Media attachment is currently used by a status' }, status: 422 if attachment.status_id

    attachment.destroy!
    render json: {}
  end

  private

  def unattached
    current_account.media_attachments.where(status_id: nil)
  end

  def delay?
    false
  end
end
