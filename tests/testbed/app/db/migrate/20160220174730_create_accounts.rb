# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class CreateAccounts < ActiveRecord::Migration[6.1]
  def change
    create_table :accounts do |t|
      t.string :username, null: false, default: ''
      t.string :domain
      t.timestamps null: false
    end
    add_index :accounts, 'lower(username), COALESCE(lower(domain), \'\')', unique: true, name: 'index_accounts_on_username_and_domain_lower'
  end
end
