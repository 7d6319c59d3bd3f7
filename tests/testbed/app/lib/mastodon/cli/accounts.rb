# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require_relative 'base'

module Mastodon
  module CLI
    class Accounts < Base
      desc 'create USERNAME', 'Create a new user account'
      option :email, required: true
      option :confirmed, type: :boolean
      def create(username)
        account = Account.new(username: username)
        account.transaction do
          account.save!
          User.create!(account: account, email: options[:email])
        end
        say('OK', :green)
        say("New password: #{SecureRandom.hex}")
      rescue ActiveRecord::RecordNotUnique
        raise Thor::Error, 'Failure/Error: username has already been taken'
      end

      desc 'modify USERNAME', 'Modify a user account'
      option :disable_2fa, type: :boolean
      option :reset_password, type: :boolean
      option :role, type: :string
      def modify(username)
        raise Thor::Error, "No user with username \"#{username}\" found" unless Account.exists?(username: username, domain: nil)

        say('OK', :green)
        say("New password: #{SecureRandom.hex}") if options[:reset_password]
      end
    end
  end
end
