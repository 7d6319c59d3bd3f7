# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require 'open3'

namespace :assets do
  desc 'Build the front end, and the error page nginx shows'
  task precompile: :environment do
    stamp = Rails.root.join('tmp', 'cache', 'vite', 'last-build-production.json')
    sources = Dir[Rails.root.join('app', 'javascript', '**', '*')].select { |path| File.file?(path) }.sort
    digest = Digest::SHA1.hexdigest(sources.map { |path| File.binread(path) }.join)
    last = stamp.exist? ? JSON.parse(stamp.read) : {}

    if last['success'] && last['digest'] == digest && File.exist?(Packs::MANIFESTS.first)
      puts 'Skipping vite build. Watched files have not changed since the last build'
    else
      puts 'Building with Vite ⚡️'
      output, status = Open3.capture2e('node', Rails.root.join('config', 'packs.mjs').to_s, 'vite')
      FileUtils.mkdir_p(stamp.dirname)
      stamp.write({ success: status.success?, errors: output, timestamp: Time.now.utc, vite_ruby: '3.9.2', digest: digest }.to_json)
      abort "#{output}\nBuild with Vite failed! ❌" unless status.success?
      puts "Build with Vite complete: #{Packs::FOLDER}"
    end

    assets = Rails.public_path.join('assets')
    FileUtils.mkdir_p(assets)
    assets.join('500.html').write(Rails.root.join('app', 'views', 'errors', '500.html').read)
    assets.join('.manifest.json').write({ '500.html' => { digested_path: '500.html' } }.to_json)
  end
end
