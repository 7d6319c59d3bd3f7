#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_cleanup
short_description: Free disk space on a Mastodon server by what may be deleted
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Deletes what is asked for, and says before what it will free; in check mode nothing is deleted.
  - Local uploads, the database, the checkout, and files that a process has open are never deleted. Cached media of other servers are
    fetched again when somebody looks at them.
  - For a server whose disk is full use the fix C(reclaim_disk) of the role P(fediops.mastodon.remediate#role), which deletes only what the
    full filesystem holds, stops when there is room again, and brings back what died of it.
  - What was deleted is not taken back by a rollback.
options:
  journal_megabytes:
    description:
      - Delete archived files of the journal of systemd until it takes this many megabytes; V(0) leaves it.
    type: int
    default: 0
  packages:
    description:
      - Empty the cache of downloaded packages (C(apt-get clean), C(dnf clean packages)).
    type: bool
    default: false
  rotated_logs:
    description:
      - Delete rotated logs below C(/var/log) that are older than a day, but those of audit and logins.
    type: bool
    default: false
  old_releases:
    description:
      - Delete old releases beside the one that runs, where C(releases/) and C(current) are laid out as by Capistrano. The newest of the old
        ones stays, and so does one that holds uploads.
    type: bool
    default: false
  media_days:
    description:
      - Delete cached attachments of other servers older than this many days (C(tootctl media remove)); V(0) leaves them.
    type: int
    default: 0
  preview_card_days:
    description:
      - Delete pictures of link previews older than this many days (C(tootctl preview_cards remove)); V(0) leaves them.
    type: int
    default: 0
  prune_profiles:
    description:
      - Delete cached avatars and headers of remote accounts too, of those older than O(media_days), or 7 days. Needs Mastodon 4.1.
    type: bool
    default: false
  remove_headers:
    description:
      - Likewise, headers only. Needs Mastodon 4.1.
    type: bool
    default: false
extends_documentation_fragment:
  - fediops.mastodon._attributes.changes
  - fediops.mastodon._attributes.root
attributes:
  check_mode:
    description: Tells what would be deleted and what it would free; C(tootctl) is asked with C(--dry-run).
    support: full
  diff_mode:
    description: Lists what is deleted.
    support: full
notes:
  - C(tootctl) needs PostgreSQL and a Redis that takes writes; without them the module fails before it deletes anything.
seealso:
  - name: Using the admin CLI
    description: What C(tootctl) removes.
    link: https://docs.joinmastodon.org/admin/tootctl/#media-remove
"""

EXAMPLES = r"""
- name: See what could be freed
  fediops.mastodon.mastodon_cleanup:
    journal_megabytes: 500
    packages: true
    rotated_logs: true
    media_days: 14
    preview_card_days: 180
  become: true
  check_mode: true
  register: cleanup

- name: Keep two weeks of cached media
  fediops.mastodon.mastodon_cleanup:
    media_days: 14
  become: true
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be deleted.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the option.
      type: str
    what:
      description: One line.
      type: str
    bytes:
      description: What it was expected to free.
      type: int
    inodes:
      description: About how many files.
      type: int
changes:
  description: What was done, or in check mode would be done, one line each.
  returned: always
  type: list
  elements: str
run:
  description: Id of the journal of this change on the host.
  returned: not in check mode
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fediops.mastodon.plugins.module_utils._change.alone import alone
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _prune, _tootctl
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._room import Action


def found(change: Change) -> list[Action]:
    """What the options ask for and there is to delete; nothing is touched yet."""
    options = change.options
    wanted = {"media": options["media_days"] > 0, "preview_cards": options["preview_card_days"] > 0, "days": options["media_days"] or 7,
              "preview_days": options["preview_card_days"], "prune_profiles": options["prune_profiles"],
              "remove_headers": options["remove_headers"]}
    result: list[Action | None] = []
    if options["journal_megabytes"] > 0:
        result.append(_prune.journal(change, lambda _path: True, options["journal_megabytes"] << 20))
    if options["packages"]:
        result += _prune.packages(change, lambda _path: True)
    if options["rotated_logs"]:
        result.append(_prune.rotated_logs(change, lambda _path: True))
    if options["old_releases"]:
        result += _prune.releases(change, lambda _path: True)
    if any(wanted[name] for name in ("media", "preview_cards", "prune_profiles", "remove_headers")):
        problem = _tootctl.why_not(change)
        if problem:
            raise Refused("tootctl cannot be used: %s" % problem)
        result += _tootctl.actions(change, wanted)
    return [each for each in result if each is not None]


def main() -> None:
    module = AnsibleModule(  # type: ignore[no-untyped-call]  # ansible-core ships no types
        argument_spec={
            "journal_megabytes": {"type": "int", "default": 0},
            "packages": {"type": "bool", "default": False},
            "rotated_logs": {"type": "bool", "default": False},
            "old_releases": {"type": "bool", "default": False},
            "media_days": {"type": "int", "default": 0},
            "preview_card_days": {"type": "int", "default": 0},
            "prune_profiles": {"type": "bool", "default": False},
            "remove_headers": {"type": "bool", "default": False},
            "root": {"type": "path", "default": ""},
        },
        mutually_exclusive=[("prune_profiles", "remove_headers")],
        supports_check_mode=True,
    )
    actions: list[Action] = []

    def clean(change: Change) -> None:
        change.cannot_undo("what was deleted stays deleted")
        actions.extend(found(change))
        for action in actions:
            action.act()

    options = {key: value for key, value in module.params.items() if key != "root"}
    result = alone(module, "mastodon_cleanup", clean, options, module.params["root"])
    told = [{"name": each.name, "what": each.what, "bytes": each.bytes, "inodes": each.inodes} for each in actions]
    module.exit_json(actions=told, **result)


if __name__ == "__main__":
    main()
