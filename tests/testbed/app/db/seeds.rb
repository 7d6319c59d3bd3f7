# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One local account that may post, and one remote account with cached media.
# The token is public on purpose: see tests/testbed/box.py.
owner = Account.find_or_create_by!(username: 'admin', domain: nil)
user = User.find_or_create_by!(account: owner, email: 'admin@mastodon.test')
token = ENV.fetch('STANDIN_TOKEN')
OauthAccessToken.find_or_create_by!(token: token) { |created| created.resource_owner_id = user.id; created.scopes = 'read write' }

remote = Account.find_or_create_by!(username: 'friend', domain: 'remote.test')
old = MediaAttachment.find_or_create_by!(account: remote, remote_url: 'https://remote.test/picture.png') do |created|
  created.assign_attributes(file_file_name: 'picture.png', file_content_type: 'image/png', file_file_size: 4096, processing: 'complete', created_at: 30.days.ago)
end
MediaAttachment::STYLES.each do |style|
  path = Paperclip.local(old.path_of(style))
  FileUtils.mkdir_p(File.dirname(path))
  File.binwrite(path, 'x' * 4096)
end
