# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require_relative '../../../config/environment'
require 'thor'

module Mastodon
  module CLI
    class Base < Thor
      def self.exit_on_failure?
        true
      end

      def initialize(*)
        super
        ActiveRecord::Base.logger = Rails.logger = Logger.new(File::NULL)
      end

      private

      def human(bytes)
        ActiveSupport::NumberHelper.number_to_human_size(bytes)
      end

      def dry_run_note
        ' (DRY RUN)' if options[:dry_run]
      end
    end
  end
end
