# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require_relative 'base'
require_relative 'media'
require_relative 'accounts'
require_relative 'cache'

module Mastodon
  module CLI
    class Main < Base
      desc 'media SUBCOMMAND ...ARGS', 'Manage media files'
      subcommand 'media', Media

      desc 'accounts SUBCOMMAND ...ARGS', 'Manage accounts'
      subcommand 'accounts', Accounts

      desc 'cache SUBCOMMAND ...ARGS', 'Manage cache'
      subcommand 'cache', Cache

      map %w(--version -v) => :version
      desc 'version', 'Show version'
      def version
        say(Mastodon::Version.to_s)
      end
    end
  end
end
