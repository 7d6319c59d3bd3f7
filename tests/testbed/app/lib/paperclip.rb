# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require 'open3'
require 'fileutils'

# Stands in for the gem that stores and converts uploads: same tools, same
# folders, same error classes.
module Paperclip
  class Error < StandardError; end

  module Errors
    class CommandNotFoundError < Error; end
    class NotIdentifiedByImageMagickError < Error; end
  end

  SMALL = 640
  PACKAGE = { 'ffmpeg' => 'ffmpeg', 'ffprobe' => 'ffmpeg', 'convert' => 'ImageMagick', 'identify' => 'ImageMagick' }.freeze

  class << self
    def local(path)
      root = ENV.fetch('PAPERCLIP_ROOT_PATH') { Rails.root.join('public', 'system').to_s }
      File.join(root.sub(':rails_root', Rails.root.to_s), path)
    end

    def save(source, path)
      target = local(path)
      FileUtils.mkdir_p(File.dirname(target))
      FileUtils.cp(source, target)
      File.chmod(0o644, target)
      Remote.store(path, File.binread(source)) if ENV['S3_ENABLED'] == 'true'
    end

    # Output of a helper program; nil when it failed and a reason is not given.
    def run(program, *arguments, on_failure: nil)
      output, status = Open3.capture2e(program, *arguments)
      return output if status.success?
      raise Error, "#{on_failure}: #{program} returned #{status.exitstatus || (128 + status.termsig)}. Expected 0\n#{output}" if on_failure
    rescue Errno::ENOENT
      raise Errors::CommandNotFoundError, "Could not run the `#{program}` command. Please install #{PACKAGE.fetch(program, program)}."
    end
  end

  module ContentType
    BY_NAME = { '.mp4' => 'video/mp4', '.webm' => 'video/webm', '.jpg' => 'image/jpeg', '.jpeg' => 'image/jpeg', '.png' => 'image/png' }.freeze

    def self.of(path, name)
      found = Paperclip.run('file', '-b', '--mime-type', path).to_s.strip
      found.match?(%r{\A(image|video)/}) ? found : BY_NAME.fetch(File.extname(name).downcase, 'application/octet-stream')
    rescue Errors::CommandNotFoundError
      BY_NAME.fetch(File.extname(name).downcase, 'application/octet-stream')
    end
  end

  module Geometry
    def self.of(path)
      width, height = Mastodon::Version.vips? ? Vips.size(path) : identify(path)
      raise Errors::NotIdentifiedByImageMagickError, 'Could not identify image size' unless width

      { original: { width: width, height: height } }
    end

    def self.identify(path)
      Paperclip.run('identify', '-format', '%w %h ', "#{path}[0]")&.split&.first(2)&.map(&:to_i)
    end
  end

  module VideoMetadata
    def self.of(path)
      json = Paperclip.run('ffprobe', '-v', 'quiet', '-print_format', 'json', '-show_streams', path)
      stream = JSON.parse(json || '{}').fetch('streams', []).find { |found| found['codec_type'] == 'video' }
      return {} unless stream # Then ffmpeg will say what is wrong.

      { original: { width: stream['width'], height: stream['height'], duration: stream['duration'].to_f } }
    end
  end

  class Thumbnail
    def initialize(source, target, video:)
      @source = source
      @target = target
      @video = video
    end

    def make
      FileUtils.mkdir_p(File.dirname(@target))
      @video ? frame : still
      File.chmod(0o644, @target)
    end

    private

    def frame
      Paperclip.run('ffmpeg', '-y', '-loglevel', 'fatal', '-i', @source, '-vf', "scale=#{SMALL}:-2", '-frames:v', '1', @target,
                    on_failure: "Error while transcoding #{File.basename(@source)}")
    end

    def still
      return Vips.thumbnail(@source, @target, SMALL) if Mastodon::Version.vips?

      Paperclip.run('convert', @source, '-resize', "#{SMALL}x#{SMALL}>", @target,
                    on_failure: "There was an error processing the thumbnail for #{File.basename(@source)}")
    end
  end
end
