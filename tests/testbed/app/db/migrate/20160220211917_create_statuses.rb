# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class CreateStatuses < ActiveRecord::Migration[6.1]
  def change
    create_table :statuses do |t|
      t.string :uri
      t.references :account, null: false, foreign_key: { on_delete: :cascade }
      t.text :text, null: false, default: ''
      t.timestamps null: false
    end
    add_index :statuses, :uri, unique: true
  end
end
