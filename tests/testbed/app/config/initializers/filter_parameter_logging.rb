# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
Rails.application.config.filter_parameters += %i(passw email secret token _key crypt salt certificate otp ssn)
