# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Stands in for webpacker: same file, same error class, and like in production
# the manifest is read once per process.
module Webpacker
  class Manifest
    class MissingEntryError < StandardError; end
  end
end

module Packs
  FOLDER = File.expand_path('../public/packs', __dir__)
  MANIFESTS = [File.join(FOLDER, 'manifest.json')].freeze

  class << self
    def files_of(name)
      entry = manifest.dig('entrypoints', name, 'assets') || missing("#{name}.js")
      { js: entry.fetch('js'), css: Array(entry['css']) }
    end

    private

    def manifest
      @manifest ||= File.exist?(MANIFESTS.first) ? JSON.parse(File.read(MANIFESTS.first)) : {}
    end

    def missing(entry)
      raise Webpacker::Manifest::MissingEntryError, <<~MESSAGE
        Webpacker can't find #{entry} in #{MANIFESTS.first}. Possible causes:
        1. The packs were not compiled, or compiling failed.
        2. The entry has another name.
        Your manifest contains:
        #{JSON.pretty_generate(manifest)}
      MESSAGE
    end
  end
end
