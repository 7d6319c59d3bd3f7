# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class CreateFaspProviders < ActiveRecord::Migration[6.1]
  def change
    create_table :fasp_providers do |t|
      t.boolean :confirmed, null: false, default: false
      t.string :name, null: false
      t.string :base_url, null: false, index: { unique: true }
      t.timestamps null: false
    end
  end
end
