# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
Rails.application.config.lograge.custom_options = ->(event) { { allocations: event.allocations } }
