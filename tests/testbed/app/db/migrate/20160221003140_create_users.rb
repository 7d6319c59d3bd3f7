# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class CreateUsers < ActiveRecord::Migration[6.1]
  def change
    create_table :users do |t|
      t.string :email, null: false, default: '', index: { unique: true }
      t.references :account, null: false, foreign_key: { on_delete: :cascade }
      t.string :legacy_locale
      t.timestamps null: false
    end
  end
end
