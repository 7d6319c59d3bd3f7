# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class OauthAccessToken < ApplicationRecord
  belongs_to :user, foreign_key: :resource_owner_id

  # read covers read:statuses.
  def allows?(scope)
    (scopes.to_s.split & [scope, scope.split(':').first]).any?
  end
end
