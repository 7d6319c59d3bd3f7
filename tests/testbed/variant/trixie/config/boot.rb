# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
unless ENV.key?('RAILS_ENV')
  abort <<~MESSAGE
    The RAILS_ENV environment variable is not set.

    Set it to "production" on a server, "development" or "test" elsewhere.
  MESSAGE
end

ENV['BUNDLE_GEMFILE'] ||= File.expand_path('../Gemfile', __dir__)
require 'bundler/setup'
require 'bootsnap'
Bootsnap.setup(
  cache_dir: File.expand_path('../tmp/cache', __dir__),
  development_mode: ENV['RAILS_ENV'] == 'development',
  load_path_cache: true, compile_cache_iseq: true, compile_cache_yaml: true
)
