# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
module Mastodon
  # Three frames say where; the rest would flood the journal.
  class SidekiqMiddleware
    FRAMES = 3

    def call(_worker, _job, _queue)
      yield
    rescue StandardError => e
      e.set_backtrace(e.backtrace.first(FRAMES)) if ENV['BACKTRACE'].nil? && e.backtrace
      raise
    end
  end
end
