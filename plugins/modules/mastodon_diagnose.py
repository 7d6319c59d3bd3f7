#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_diagnose
short_description: Name what is wrong with Mastodon servers
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Compares the facts that M(fediops.mastodon.mastodon_facts) read on the hosts of the play with the catalogue of known issues.
  - Names root causes first. What another finding explains is reported below its cause, on whichever host of the instance that is.
  - What could not be checked is reported as unknown with the reason, never as clear.
  - Runs on the controller, once for all hosts of the play, and asks no host.
extends_documentation_fragment:
  - fediops.mastodon._attributes.known_issues
  - fediops.mastodon._attributes.waivers
  - fediops.mastodon._attributes
  - fediops.mastodon._attributes.controller
seealso:
  - module: fediops.mastodon.mastodon_facts
  - module: fediops.mastodon.mastodon_report
"""

EXAMPLES = r"""
- name: Read the facts
  fediops.mastodon.mastodon_facts:
  register: __mastodon_facts_result
  ignore_errors: true
  ignore_unreachable: true

- name: Name what is wrong
  fediops.mastodon.mastodon_diagnose:
    waivers:
      - id: sidekiq_backlog
        reason: A large import runs until Sunday
        until: "2026-12-31"
  register: result
"""

RETURN = r"""
diagnosis:
  description:
    - The diagnosis of all hosts.
    - Its JSON Schema is C(plugins/plugin_utils/_report/diagnosis.schema.json) of this collection.
  returned: success
  type: dict
  contains:
    schema:
      description: Version of this structure.
      type: int
      sample: 1
    verdict:
      description: The worst of the hosts, one of V(faults), V(incomplete), V(advice) and V(clear).
      type: str
      sample: faults
    run:
      description: Identifier, start, duration and version of the collection.
      type: dict
    hosts:
      description: By name of the host its C(verdict), C(findings), C(unknown), C(waived), C(passed), C(probes) and more.
      type: dict
    fleet:
      description: Findings about several hosts together.
      type: dict
    known_issues:
      description: Component and severity of every known issue of the catalogue.
      type: dict
"""
