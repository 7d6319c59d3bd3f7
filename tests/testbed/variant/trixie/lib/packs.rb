# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Stands in for vite_ruby: same files, same error class, and like in production
# the manifests are read once per process.
class ViteRuby
  class MissingEntrypointError < StandardError; end
end

module Packs
  FOLDER = File.expand_path('../public/packs', __dir__)
  MANIFESTS = %w(manifest.json manifest-assets.json).map { |name| File.join(FOLDER, '.vite', name) }.freeze
  LOOKUP = File.join(FOLDER, '.vite', 'manifest-lookup.json')

  class << self
    def files_of(name)
      entry = manifest["entrypoints/#{name}.ts"] || missing("entrypoints/#{name}.ts")
      theme = lookup["styles/#{name}"]
      css = [*entry['css'], *theme&.fetch('file')].uniq
      { js: [public_path(entry['file'])], css: css.map { |file| public_path(file) } }
    end

    private

    def manifest
      @manifest ||= MANIFESTS.select { |path| File.exist?(path) }.map { |path| JSON.parse(File.read(path)) }.reduce({}, :merge)
    end

    def lookup
      @lookup ||= JSON.parse(File.read(LOOKUP))
    end

    def public_path(file)
      "/packs/#{file}"
    end

    def missing(entry)
      raise ViteRuby::MissingEntrypointError, <<~MESSAGE
        Vite Ruby can't find #{entry} in the manifests.

        Possible causes:
          - The build was not run, or failed.
          - The entry point has another name.

        Content in your manifests:
        #{JSON.pretty_generate(manifest)}
      MESSAGE
    end
  end
end
