# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Api::V1::MediaController < Api::BaseController
  before_action :require_user!

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
    @attachment = current_account.media_attachments.find(params[:id])
    status = { 'failed' => 422, 'complete' => 200 }.fetch(@attachment.processing, 206)
    render json: @attachment, status: status
  end

  private

  def delay?
    false
  end
end
