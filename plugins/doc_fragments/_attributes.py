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
