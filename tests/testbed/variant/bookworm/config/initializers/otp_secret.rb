# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Two-factor secrets are encrypted with it, so there is no default.
Rails.application.config.x.otp_secret = ENV.fetch('OTP_SECRET')
