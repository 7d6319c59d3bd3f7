# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class CreateMediaAttachments < ActiveRecord::Migration[6.1]
  def change
    create_table :media_attachments do |t|
      t.references :status, foreign_key: { on_delete: :nullify }
      t.references :account, foreign_key: { on_delete: :nullify }
      t.string :file_file_name
      t.string :file_content_type
      t.bigint :file_file_size
      t.string :remote_url, null: false, default: ''
      t.timestamps null: false
    end
  end
end
