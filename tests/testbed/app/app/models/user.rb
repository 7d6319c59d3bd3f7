# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class User < ApplicationRecord
  belongs_to :account
end
