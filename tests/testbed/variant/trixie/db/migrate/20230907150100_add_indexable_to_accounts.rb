# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class AddIndexableToAccounts < ActiveRecord::Migration[6.1]
  def change
    add_column :accounts, :indexable, :boolean, null: false, default: false
  end
end
