# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
ActiveSupport::Inflector.inflections(:en) do |inflect|
  inflect.acronym 'ActivityPub'
end
