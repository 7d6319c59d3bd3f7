# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class CreateDoorkeeperTables < ActiveRecord::Migration[6.1]
  def change
    create_table :oauth_access_tokens do |t|
      t.bigint :resource_owner_id, index: true
      t.string :token, null: false, index: { unique: true }
      t.string :scopes
      t.datetime :revoked_at
      t.datetime :created_at, null: false
    end
  end
end
