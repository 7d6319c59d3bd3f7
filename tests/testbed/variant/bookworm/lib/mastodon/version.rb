# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
module Mastodon
  module Version
    module_function

    def major
      4
    end

    def minor
      1
    end

    def patch
      25
    end

    def flags
      ''
    end

    def suffix
      ''
    end

    def to_s
      [major, minor, patch].join('.')
    end

    # What else the stand-in has to know about its own age.
    def vips?
      false
    end

    def deletes_media?
      false
    end

    def localhost_safelist?
      true
    end

    def minimum_postgresql
      9
    end
  end
end
