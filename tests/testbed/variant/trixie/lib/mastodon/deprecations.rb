# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
if ENV['REDIS_NAMESPACE']
  abort <<~MESSAGE
    ERROR: the REDIS_NAMESPACE environment variable is no longer supported.
    Move the data with mastodon/redis_namespace_migration, then unset it.
  MESSAGE
end
