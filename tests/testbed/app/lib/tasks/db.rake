# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
namespace :db do
  desc 'Refuse servers that are too old'
  task pre_migration_check: :environment do
    minimum = Mastodon::Version.minimum_postgresql
    version = ActiveRecord::Base.connection.select_value("SELECT current_setting('server_version_num')").to_i / 10_000
    abort "This version of Mastodon requires PostgreSQL #{minimum} or newer. Please update PostgreSQL before updating Mastodon" if version < minimum
  end

  Rake::Task['db:migrate'].enhance(['db:pre_migration_check'])
end
