# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One local account that may post, and one remote account with cached media.
# The token is public on purpose: see tests/testbed/box.py.
owner = Account.find_or_create_by!(username: 'admin', domain: nil)
user = User.find_or_create_by!(account: owner, email: 'admin@mastodon.test')
token = ENV.fetch('STANDIN_TOKEN')
OauthAccessToken.find_or_create_by!(token: token) { |created| created.resource_owner_id = user.id; created.scopes = 'read write' }

# Cached a month ago, so `tootctl media remove` has something to free.
REMOTE_FILES = 8
BYTES = { 'original' => 262_144, 'small' => 65_536 }.freeze
remote = Account.find_or_create_by!(username: 'friend', domain: 'remote.test')
REMOTE_FILES.times do |number|
  cached = MediaAttachment.find_or_create_by!(account: remote, remote_url: "https://remote.test/#{number}.png") do |created|
    created.assign_attributes(file_file_name: "#{number}.png", file_content_type: 'image/png', file_file_size: BYTES['original'],
                              processing: 'complete', created_at: 30.days.ago)
  end
  BYTES.each do |style, bytes|
    path = Paperclip.local(cached.path_of(style))
    FileUtils.mkdir_p(File.dirname(path))
    File.binwrite(path, 'x' * bytes)
  end
end
