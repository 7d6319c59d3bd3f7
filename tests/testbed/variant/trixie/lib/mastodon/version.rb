# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
module Mastodon
  module Version
    module_function

    def major
      4
    end

    def minor
      4
    end

    def patch
      22
    end

    def default_prerelease
      ''
    end

    def prerelease
      ENV['MASTODON_VERSION_PRERELEASE'].to_s == '' ? default_prerelease : ENV['MASTODON_VERSION_PRERELEASE']
    end

    def build_metadata
      ENV.fetch('MASTODON_VERSION_METADATA', nil)
    end

    def to_s
      text = [major, minor, patch].join('.')
      text += "-#{prerelease}" if prerelease.to_s != ''
      text += "+#{build_metadata}" if build_metadata.to_s != ''
      text
    end

    # What else the stand-in has to know about its own age.
    def vips?
      true
    end

    def localhost_safelist?
      false
    end

    def minimum_postgresql
      13
    end
  end
end
