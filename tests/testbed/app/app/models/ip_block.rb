# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class IpBlock < ApplicationRecord
  # Looked up on every request, so it is kept in the cache for ten minutes.
  def self.blocked?(ip)
    Rails.cache.fetch('blocked_ips', expires_in: 10.minutes) { pluck(:ip).map(&:to_s) }.include?(ip.to_s)
  end
end
