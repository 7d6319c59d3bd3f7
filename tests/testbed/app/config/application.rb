# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require_relative 'boot'

require 'rails'
require 'active_record/railtie'
require 'action_controller/railtie'
require 'action_view/railtie'
require 'active_support/core_ext/integer/time'

Bundler.require(*Rails.groups)
require 'dotenv'
require 'lograge'
require 'rack/attack'

# The first file that has a key wins, and the real environment beats them all.
env = ENV.fetch('RAILS_ENV')
root = File.expand_path('..', __dir__)
Dotenv.load(*[".env.#{env}.local", '.env.local', ".env.#{env}", '.env'].map { |name| File.join(root, name) })

require_relative '../lib/mastodon/version'
require_relative '../lib/mastodon/deprecations'
require_relative '../lib/mastodon/log_format'
require_relative '../lib/mastodon/redis_configuration'
require_relative '../lib/mastodon/rate_limiter'
require_relative '../lib/mastodon/sidekiq_middleware'
require_relative '../lib/packs'
require_relative '../lib/remote'
require_relative '../lib/paperclip'
require_relative '../lib/vips' if Mastodon::Version.vips?

module Mastodon
  class Application < Rails::Application
    config.load_defaults Rails.gem_version.segments.first(2).join('.')
    config.active_record.schema_format = :ruby

    # Migrations that must run after the new code is live have their own folder.
    unless ENV['SKIP_POST_DEPLOYMENT_MIGRATIONS']
      config.paths['db/migrate'] << 'db/post_migrate'
      ActiveRecord::Migrator.migrations_paths << 'db/post_migrate'
    end
  end
end
