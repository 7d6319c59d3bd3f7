# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class RemoveLegacyLocaleFromUsers < ActiveRecord::Migration[6.1]
  def change
    remove_column :users, :legacy_locale, :string
  end
end
