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

    def to_s
      [major, minor, patch].join('.')
    end

    # What else the stand-in has to know about its own age.
    def vips?
      true
    end

    def deletes_media?
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
