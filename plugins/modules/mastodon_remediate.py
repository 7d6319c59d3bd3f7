#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_remediate
short_description: Apply the documented fixes to Mastodon servers, prove them, and undo what did not cure
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Plans the fixes for what is wrong with the host by the facts that M(fediops.mastodon.mastodon_facts) read, applies what is allowed,
    looks at the host again, keeps what cured and undoes what did not. At most three rounds, since a cure may uncover the next cause.
  - Use it by the role P(fediops.mastodon.remediate#role), which also reports.
  - The work is done by M(fediops.mastodon.mastodon_fix) in a process on the host, which goes on when the connection is lost.
  - Two hosts of one instance are never worked on at once. When a host got worse, no further one is begun.
options:
  assets_archive:
    description: Archive that M(fediops.mastodon.mastodon_assets) packed on O(build_host).
    type: path
  waivers:
    description: Findings somebody decided to live with, as for M(fediops.mastodon.mastodon_diagnose). They are not remediated.
    type: list
    elements: dict
    default: []
  waivers_dirs:
    description: Directories on the controller with files of such waivers, as for M(fediops.mastodon.mastodon_diagnose).
    type: list
    elements: path
    default: []
  gather_timeout:
    description: Seconds one subset of the facts may take when the host is looked at again.
    type: float
    default: 10
  log_since:
    description: How far to look back in the logs at the end. What is older than a cure no longer counts for what was cured.
    type: str
    default: 1h
  root:
    description: Directory of the Mastodon checkout. When empty it is found.
    type: str
    default: ''
  fail:
    description:
      - Fail when a step failed, was undone or is escalated, or when the host got worse.
      - With V(false) that is only told in RV(remediation), and M(fediops.mastodon.mastodon_report) fails instead, for all hosts.
    type: bool
    default: true
extends_documentation_fragment:
  - fediops.mastodon._attributes.known_issues
  - fediops.mastodon._attributes.changes
  - fediops.mastodon._attributes.policy
attributes:
  action:
    description: Has an action plugin, which does the planning and the judging on the controller.
    support: full
  check_mode:
    description: Shows the plan; nothing is written on the host.
    support: full
seealso:
  - module: fediops.mastodon.mastodon_fix
  - module: fediops.mastodon.mastodon_rollback
"""

EXAMPLES = r"""
- name: Read the facts
  fediops.mastodon.mastodon_facts:
  become: true

- name: Cure what starting and restarting can cure
  fediops.mastodon.mastodon_remediate:
    impact: restart
  become: true
  throttle: 1
"""

RETURN = r"""
waits_for:
  description: What is found on this host and caused on others. When one of those was worked on, look at this one again.
  returned: always, but for bad input
  type: dict
  contains:
    hosts:
      description: Where the causes are.
      type: list
      elements: str
    issues:
      description: Ids of the findings here.
      type: list
      elements: str
remediation:
  description: What was done.
  returned: always, but for bad input
  type: dict
  contains:
    run:
      description: Id of the last run, for M(fediops.mastodon.mastodon_rollback). Absent when nothing was due.
      type: str
    runs:
      description: Ids of all rounds, oldest first.
      type: list
      elements: str
    rounds:
      description: How often the host was worked on.
      type: int
    steps:
      description:
        - Each with C(fix), C(issues), C(impact), C(state), C(reason), C(changes), and the evidence C(before) and C(after).
        - C(state) is V(kept), V(undone), V(failed), V(refused), V(nothing), V(not_allowed), V(not_touched), or in check mode V(planned).
      type: list
      elements: dict
    worse:
      description: Severe findings that were not there before.
      type: list
      elements: str
    failed:
      description: What did not end well; empty when all did.
      type: list
      elements: str
ansible_facts:
  description: The facts as they are afterwards.
  returned: when the host was worked on
  type: dict
"""
