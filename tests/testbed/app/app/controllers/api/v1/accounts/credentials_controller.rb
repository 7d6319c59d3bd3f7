# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Api::V1::Accounts::CredentialsController < Api::BaseController
  before_action -> { require_scope!('read:accounts') }

  def show
    render json: current_account
  end
end
