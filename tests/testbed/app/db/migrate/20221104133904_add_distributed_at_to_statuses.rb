# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class AddDistributedAtToStatuses < ActiveRecord::Migration[6.1]
  def change
    add_column :statuses, :distributed_at, :datetime
  end
end
