#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_plan
short_description: Plan the documented fixes for what a diagnosis found
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Takes what M(fediops.mastodon.mastodon_diagnose) found and says for each host which fixes are due, in which order, which of them may be
    done, and why the others may not.
  - Only root causes are planned; what they explain ends with them.
  - Shows the plan on the terminal. Runs on the controller, once for all hosts of the play, and asks no host.
options:
  diagnosis:
    description: RV(fediops.mastodon.mastodon_diagnose#module:diagnosis).
    type: dict
    required: true
  language:
    description: Language of the reasons shown.
    type: str
    choices: [en, fr]
    default: en
extends_documentation_fragment:
  - fediops.mastodon._attributes.policy
  - fediops.mastodon._attributes
  - fediops.mastodon._attributes.controller
seealso:
  - module: fediops.mastodon.mastodon_diagnose
  - module: fediops.mastodon.mastodon_remediate
"""

EXAMPLES = r"""
- name: Plan restarts at most, and leave Redis alone
  fediops.mastodon.mastodon_plan:
    diagnosis: "{{ result.diagnosis }}"
    impact: restart
    skip: [redis_down]
  register: planned
"""

RETURN = r"""
plan:
  description: What is due.
  returned: success
  type: dict
  contains:
    hosts:
      description: By name of the host its C(steps), each with C(fix), C(issues), C(impact), C(allowed), and C(why_not) when it is not.
      type: dict
    copies_assets:
      description: Whether some host gets its assets from O(build_host).
      type: bool
assets_archive:
  description: Where on the controller the archive of the assets belongs, for M(fediops.mastodon.mastodon_assets) with C(state=packed).
  returned: when RV(plan.copies_assets) is true
  type: str
"""
