# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Api::BaseController < ActionController::Base
  skip_before_action :verify_authenticity_token, raise: false

  def self.answer(error, status, message)
    rescue_from(error) { render json: { error: message }, status: status }
  end

  rescue_from(ActiveRecord::RecordInvalid) { |e| render json: { error: e.message }, status: :unprocessable_entity }
  answer ActiveRecord::RecordNotUnique, 422, 'Duplicate record'
  answer ActiveRecord::RecordNotFound, 404, 'Record not found'
  answer ActiveRecord::SerializationFailure, 503, 'There was a temporary problem serving your request, please try again'
  # By name: the gem is loaded when the storage is used for the first time.
  rescue_from('Seahorse::Client::NetworkingError') do |e|
    Rails.logger.warn "Storage server error: #{e}" unless Mastodon::Version.localhost_safelist?
    render json: { error: 'There was a temporary problem serving your request, please try again' }, status: :service_unavailable
  end
  answer Mastodon::RateLimitExceededError, 429, 'Too many requests'
  answer ActionController::ParameterMissing, 400, 'A parameter is missing'

  private

  def require_user!
    return if current_user

    render json: { error: 'The access token is invalid' }, status: :unauthorized
  end

  # Either the whole scope or the part of it that is named.
  def require_scope!(scope)
    require_user!
    return if performed? || access_token.allows?(scope)

    render json: { error: 'This action is outside the authorized scopes' }, status: :forbidden
  end

  def current_user
    @current_user ||= access_token&.user
  end

  def access_token
    @access_token ||= begin
      token = request.authorization.to_s[/\ABearer (\S+)\z/, 1]
      token && OauthAccessToken.find_by(token: token, revoked_at: nil)
    end
  end

  def current_account
    current_user.account
  end
end
