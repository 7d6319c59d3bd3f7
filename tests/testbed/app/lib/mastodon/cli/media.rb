# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require_relative 'base'

module Mastodon
  module CLI
    class Media < Base
      desc 'remove', 'Remove cached remote media, or profile images'
      option :days, type: :numeric, default: 7, aliases: %i(-d)
      option :concurrency, type: :numeric, default: 5, aliases: %i(-c)
      option :verbose, type: :boolean, aliases: %i(-v)
      option :dry_run, type: :boolean, default: false
      option :prune_profiles, type: :boolean, default: false
      option :remove_headers, type: :boolean, default: false
      option :include_follows, type: :boolean, default: false
      def remove
        fail_with('--prune-profiles and --remove-headers should not be specified simultaneously') if options[:prune_profiles] && options[:remove_headers]
        profiles = options[:prune_profiles] || options[:remove_headers]
        fail_with('--include-follows can only be used with --prune-profiles or --remove-headers') if options[:include_follows] && !profiles
        return say("Visited 0 accounts and removed profile media totaling 0 Bytes#{dry_run_note}", :green) if profiles

        files = old_remote_files
        total = files.sum { |attachment| attachment.file_file_size.to_i }
        files.each { |attachment| forget(attachment) } unless options[:dry_run]
        say("Removed #{files.size} media attachments (approx. #{human(total)})#{dry_run_note}", :green)
      end

      desc 'usage', 'Calculate disk space used by media'
      def usage
        local = MediaAttachment.where(remote_url: '').sum(:file_file_size)
        total = MediaAttachment.sum(:file_file_size)
        rows = [%w(Object Total Local), ['Attachments', human(total), human(local)]]
        rows += %w(Emoji Preview\ cards Avatars Headers Backups Settings).map { |name| [name, human(0), human(0)] }
        print_table(rows)
      end

      private

      # A local upload is the only copy; only what can be fetched again goes.
      def old_remote_files
        MediaAttachment.where.not(remote_url: '').where.not(file_file_name: nil)
                       .where('created_at < ?', options[:days].days.ago).to_a
      end

      def forget(attachment)
        MediaAttachment::STYLES.each { |style| FileUtils.rm_f(Paperclip.local(attachment.path_of(style))) }
        attachment.update!(file_file_name: nil, file_file_size: nil)
        say("Removed #{attachment.id}") if options[:verbose]
      end

      def fail_with(message)
        raise Thor::Error, message
      end
    end
  end
end
