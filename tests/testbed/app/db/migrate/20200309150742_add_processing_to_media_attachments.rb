# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class AddProcessingToMediaAttachments < ActiveRecord::Migration[6.1]
  def change
    add_column :media_attachments, :processing, :string
    add_column :media_attachments, :meta, :json
  end
end
