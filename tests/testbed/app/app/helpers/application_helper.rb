# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
module ApplicationHelper
  # Script and style tags of an entry point; raises when the build lacks it.
  def pack_tags(name)
    files = Packs.files_of(name)
    safe_join(files[:css].map { |path| tag.link(rel: 'stylesheet', href: path) } +
              files[:js].map { |path| tag.script(src: path, crossorigin: 'anonymous') }, "\n")
  end
end
