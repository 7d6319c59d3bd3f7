# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class AddLanguageToStatuses < ActiveRecord::Migration[6.1]
  def change
    add_column :statuses, :language, :string
  end
end
