# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Rails looks at it only when something is signed; a server has to fail at boot.
Rails.application.secret_key_base if Rails.env.production?
