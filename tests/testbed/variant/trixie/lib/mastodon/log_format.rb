# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
module Mastodon
  module LogFormat
    # lograge in Debian is older than Mastodon's and lacks allocations=.
    class Lograge < ::Lograge::Formatters::KeyValue
      ORDER = %i(method path format controller action status allocations duration view db location).freeze

      def call(data)
        super(data.sort_by.with_index { |(key, _), index| [ORDER.index(key) || ORDER.size, index] }.to_h)
      end
    end

    def self.logger(output)
      ActiveSupport::TaggedLogging.new(ActiveSupport::Logger.new(output, formatter: ::Logger::Formatter.new))
    end

    def self.lograge
      Lograge.new
    end
  end
end
