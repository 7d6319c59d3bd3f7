# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
Rails.application.configure do
  config.eager_load = false
  # The gem is in the development group, which a production bundle leaves out.
  config.x.mail_preview = LetterOpener::DeliveryMethod
end
