# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
module Mastodon
  module LogFormat
    # Rails gives this logger SimpleFormatter: no time, no severity, no pid.
    def self.logger(output)
      ActiveSupport::TaggedLogging.new(ActiveSupport::Logger.new(output))
    end

    def self.lograge
      ::Lograge::Formatters::KeyValue.new
    end
  end
end
