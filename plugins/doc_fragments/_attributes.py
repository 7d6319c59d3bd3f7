# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules of this collection have in common. Private to this collection, may change any time."""

from __future__ import annotations


class ModuleDocFragment:
    # Every module that only looks.
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check mode and give the same result.
    support: full
  diff_mode:
    description: Shows what would change.
    support: none
    details: No host is changed.
"""

    # Those whose work is done once, on the controller.
    CONTROLLER = r"""
attributes:
  action:
    description: Has an action plugin, which does its work on the controller.
    support: full
  bypass_host_loop:
    description: Runs once for all hosts of the play.
    support: full
  platform:
    description: Operating systems that are supported.
    support: full
    platforms: posix
"""

    # Those that change a host.
    CHANGES = r"""
attributes:
  check_mode:
    description: Shows what would be done; nothing is written on the host.
    support: full
  diff_mode:
    description: Shows what changes, secrets masked.
    support: full
  platform:
    description: Operating systems that are supported.
    support: full
    platforms: linux
notes:
  - Run it as root (C(become=true)).
"""

    ROOT = r"""
options:
  root:
    description:
      - Directory of the Mastodon checkout, or of the docker compose project that runs it. When empty it is found by what the services,
        processes and containers of the host run.
    type: path
    default: ''
"""

    # What may be done, and where assets are built.
    POLICY = r"""
options:
  impact:
    description:
      - The highest impact that may be done.
      - V(start) starts or reloads; V(restart) restarts; V(change) changes configuration, packages, swap and assets and keeps what was
        before; V(prune) deletes what Mastodon can fetch again; V(schema) migrates the database; V(rebuild) rewrites it.
    type: str
    choices: [start, restart, change, prune, schema, rebuild]
    default: restart
  only:
    description: Fixes or known issues to which to keep, by name. Empty means all.
    type: list
    elements: str
    default: []
  skip:
    description: Fixes or known issues to leave out, by name.
    type: list
    elements: str
    default: []
  build_host:
    description: Host that builds the assets of which the others get a copy. Empty means that each builds its own.
    type: str
    default: ''
"""

    # Whoever reads the catalogue of known issues.
    KNOWN_ISSUES = r"""
options:
  known_issues_dirs:
    description:
      - Directories on the controller with further known issues. A file with the id of one of ours replaces it. Read by the action plugin.
    type: list
    elements: path
    default: []
"""

    # Whoever comes to a verdict.
    WAIVERS = r"""
options:
  waivers:
    description:
      - Findings somebody decided to live with. They are listed apart, do not count for the verdict, and explain nothing.
      - After their last day the finding is back, with a note.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Id of the known issue.
        type: str
        required: true
      reason:
        description: Why. It is shown in the report.
        type: str
        required: true
      until:
        description: Last day on which the waiver holds (UTC), for example V(2026-12-31).
        type: raw
        required: true
      host:
        description: Name of the host it holds for, or a pattern such as V(web*).
        type: str
        default: '*'
  waivers_dirs:
    description:
      - Directories on the controller with further waivers. Each file that ends in .yml is a list of them, in the form of O(waivers).
    type: list
    elements: path
    default: []
"""
