# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
keys = %w(PRIMARY_KEY DETERMINISTIC_KEY KEY_DERIVATION_SALT).map { |name| "ACTIVE_RECORD_ENCRYPTION_#{name}" }
unset = keys.select { |key| ENV[key].to_s == '' }

if unset.any? && ENV['SECRET_KEY_BASE_DUMMY'].nil?
  abort <<~MESSAGE
    Mastodon now requires that these variables are set:
    #{unset.map { |key| "  - #{key}" }.join("\n")}

    On a first upgrade to 4.3 run `bin/rails db:encryption:init`; otherwise restore them from a backup.
  MESSAGE
end

Rails.application.configure do
  config.active_record.encryption.primary_key = ENV.fetch(keys[0], nil)
  config.active_record.encryption.deterministic_key = ENV.fetch(keys[1], nil)
  config.active_record.encryption.key_derivation_salt = ENV.fetch(keys[2], nil)
end
