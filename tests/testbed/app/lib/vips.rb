# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require 'fiddle'

# The shared library itself, in this process: the command line tools may be
# missing without harm, as they may on a real server.
module Vips
  class Error < StandardError; end

  LIBRARY = 'libvips.so.42'.freeze

  begin
    HANDLE = Fiddle.dlopen(LIBRARY)
  rescue Fiddle::DLError => e
    raise LoadError, "Could not open library 'vips.so.42': #{e.message}"
  end

  POINTER = Fiddle::TYPE_VOIDP
  INT = Fiddle::TYPE_INT
  REST = Fiddle::TYPE_VARIADIC

  def self.import(name, arguments, result)
    Fiddle::Function.new(HANDLE[name], arguments, result)
  end

  VERSION = import('vips_version', [INT], INT)
  major, minor = VERSION.call(0), VERSION.call(1)
  abort "Incompatible libvips version (#{major}.#{minor}), please install libvips >= 8.13" if ([major, minor] <=> [8, 13]).negative?

  class << self
    def size(path)
      start
      image = @open.call(path, POINTER, nil)
      return if image.null?

      [@width.call(image), @height.call(image)].tap { @unref.call(image) }
    end

    def thumbnail(source, target, width)
      start
      out = Fiddle::Pointer.malloc(Fiddle::SIZEOF_VOIDP, Fiddle::RUBY_FREE)
      check @thumbnail.call(source, out, width, POINTER, nil)
      begin
        check @write.call(out.ptr, target, POINTER, nil)
      ensure
        @unref.call(out.ptr)
      end
    end

    private

    # Not before the workers are forked: libvips starts threads of its own.
    def start
      @mutex.synchronize do
        next if @width

        raise Error, 'libvips did not start' unless Vips.import('vips_init', [POINTER], INT).call('standin').zero?

        @open = Vips.import('vips_image_new_from_file', [POINTER, REST], POINTER)
        @thumbnail = Vips.import('vips_thumbnail', [POINTER, POINTER, INT, REST], INT)
        @write = Vips.import('vips_image_write_to_file', [POINTER, POINTER, REST], INT)
        @unref = Vips.import('g_object_unref', [POINTER], Fiddle::TYPE_VOID)
        @height = Vips.import('vips_image_get_height', [POINTER], INT)
        @width = Vips.import('vips_image_get_width', [POINTER], INT)
      end
    end

    def check(result)
      return if result.zero?

      text = Vips.import('vips_error_buffer_copy', [], POINTER).call.to_s
      raise Paperclip::Error, "Error while generating thumbnail: #{text}"
    end
  end

  @mutex = Mutex.new
end
