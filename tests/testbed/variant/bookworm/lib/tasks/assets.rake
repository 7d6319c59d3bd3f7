# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require 'open3'

namespace :assets do
  desc 'Build the front end, and the error page nginx shows'
  task precompile: :environment do
    stamp = Rails.root.join('tmp', 'cache', 'webpacker', 'last-compilation-digest-production')
    sources = Dir[Rails.root.join('app', 'javascript', '**', '*')].select { |path| File.file?(path) }.sort
    digest = Digest::SHA1.hexdigest(sources.map { |path| File.binread(path) }.join)

    if stamp.exist? && stamp.read == digest && File.exist?(Packs::MANIFESTS.first)
      puts "Everything's up-to-date. Nothing to do"
    else
      # The digest is kept even if the build fails: only clearing tmp/cache, or
      # a missing manifest, makes the next run build again.
      FileUtils.mkdir_p(stamp.dirname)
      stamp.write(digest)
      puts 'Compiling...'
      output, status = Open3.capture2e('node', Rails.root.join('config', 'packs.mjs').to_s, 'webpacker')
      abort "Compilation failed:\n#{output}" unless status.success?
      puts "Compiled all packs in #{Packs::FOLDER}"
    end

    assets = Rails.public_path.join('assets')
    FileUtils.mkdir_p(assets)
    page = Rails.root.join('app', 'views', 'errors', '500.html').read
    assets.join('500.html').write(page)
    assets.join(".sprockets-manifest-#{Digest::MD5.hexdigest(page)}.json").write({ files: {}, assets: { '500.html': '500.html' } }.to_json)
  end
end
