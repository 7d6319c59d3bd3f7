# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class MediaAttachment < ApplicationRecord
  STYLES = %w(original small).freeze
  VIDEO = %w(video/mp4 video/webm video/quicktime).freeze

  attr_accessor :upload, :delay

  belongs_to :account
  belongs_to :status, optional: true
  before_validation :identify, on: :create
  after_create :store
  after_destroy_commit { STYLES.each { |style| FileUtils.rm_f(Paperclip.local(path_of(style))) } }
  after_create_commit { PostProcessMediaWorker.perform_async(id) unless processed? }

  def video?
    VIDEO.include?(file_content_type)
  end

  def processed?
    processing == 'complete'
  end

  # /media_attachments/files/000/000/042/small/name.png
  def path_of(style)
    id_path = format('%09d', id).scan(/\d{3}/).join('/')
    name = style == 'small' && video? ? "#{File.basename(file_file_name, '.*')}.png" : file_file_name
    File.join('media_attachments', 'files', id_path, style, name)
  end

  def make_thumbnail!
    Paperclip::Thumbnail.new(Paperclip.local(path_of('original')), Paperclip.local(path_of('small')), video: video?).make
    update!(processing: 'complete')
  end

  def as_json(*)
    root = ENV.fetch('PAPERCLIP_ROOT_URL', '/system')
    urls = STYLES.map { |style| "https://#{ENV.fetch('LOCAL_DOMAIN')}#{root}/#{path_of(style)}" }
    { id: id.to_s, type: video? ? 'video' : 'image', url: (urls.first if processed?), preview_url: urls.last, meta: meta }
  end

  private

  def identify
    return if upload.nil?

    source = upload.tempfile.path
    self.file_content_type = Paperclip::ContentType.of(source, upload.original_filename)
    extension = File.extname(upload.original_filename).downcase[/\A\.\w{1,5}\z/] || '.bin'
    self.file_file_name = "#{SecureRandom.hex(8)}#{extension}"
    self.file_file_size = upload.size
    self.meta = video? ? Paperclip::VideoMetadata.of(source) : Paperclip::Geometry.of(source)
    self.processing = 'queued'
  end

  def store
    return if upload.nil?

    Paperclip.save(upload.tempfile.path, path_of('original'))
    make_thumbnail! unless delay && video?
  end
end
