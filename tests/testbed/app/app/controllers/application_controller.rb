# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class ApplicationController < ActionController::Base
  rescue_from ActiveRecord::RecordNotUnique, with: -> { head :internal_server_error }
end
