#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_rollback
short_description: Take back what a remediation changed on a Mastodon server
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Restores configuration, units, packs and modes as they were before a run of M(fediops.mastodon.mastodon_remediate), by the journal on
    the host, and restarts the services that this concerns.
  - What cannot be taken back (deleted files, applied migrations) stays, and it says so.
  - Taking a converted database back gives up what was written since. It warns of that first, and does it only when O(run) names the run.
options:
  run:
    description: Id of the run. When empty the newest run of the host; a host without any is left alone.
    type: str
    default: ''
extends_documentation_fragment:
  - fediops.mastodon._attributes.changes
attributes:
  action:
    description: Has an action plugin, which follows the work on the host.
    support: full
  check_mode:
    description: Says what would be taken back.
    support: full
  diff_mode:
    description: Shows what would change.
    support: none
seealso:
  - module: fediops.mastodon.mastodon_remediate
  - module: fediops.mastodon.mastodon_fix
"""

EXAMPLES = r"""
- name: Take the newest run back
  fediops.mastodon.mastodon_rollback:
  become: true
"""

RETURN = r"""
run:
  description: Id of the run that was taken back.
  returned: when there is one
  type: str
steps:
  description: The steps of the run with their C(state), V(rolled_back) for those that were taken back.
  returned: when there is a run
  type: list
  elements: dict
"""
