# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class AddIndexToStatusesLanguage < ActiveRecord::Migration[6.1]
  disable_ddl_transaction!
  
  def change
    add_index :statuses, :language, algorithm: :concurrently
  end
end
