# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class AddVisibilityToStatuses < ActiveRecord::Migration[6.1]
  def change
    add_column :statuses, :visibility, :string, null: false, default: 'public'
  end
end
