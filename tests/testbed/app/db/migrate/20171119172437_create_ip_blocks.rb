# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class CreateIpBlocks < ActiveRecord::Migration[6.1]
  def change
    create_table :ip_blocks do |t|
      t.inet :ip, null: false, index: { unique: true }
      t.timestamps null: false
    end
  end
end
