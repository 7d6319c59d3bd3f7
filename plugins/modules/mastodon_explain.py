#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_explain
short_description: Name what log lines of Mastodon show
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Reads log lines that somebody pasted, of Mastodon and of the services around it, and names the root cause that they show. No server is
    asked.
  - Prefixes of the journal, of docker and of docker compose are understood, and lines of several services in one file.
  - What only a server could tell is not guessed. Errors that no known issue explains are listed as unclassified.
  - Runs on the controller.
options:
  log:
    description:
      - File with the lines, plain or gzip. A line is read up to 32 KiB, a file up to 1 GiB.
      - Exactly one of O(log) and O(cases) is needed.
    type: path
  log_origin:
    description:
      - Who wrote the lines that do not show it by their prefix or shape. V(command) is the output of a command that somebody ran.
    type: str
    choices: [auto, web, sidekiq, streaming, proxy, database, redis, kernel, command]
    default: auto
  version:
    description: Version of Mastodon, for example V(4.3.2). Known issues of other versions are left out.
    type: str
    default: ''
  deployment:
    description: How Mastodon is run. V(unknown) is told by the lines, as far as they do.
    type: str
    choices: [systemd, docker, unknown]
    default: unknown
  cases:
    description:
      - YAML file with many logs, a list C(cases) of mappings with C(id) and C(lines), and if known C(where), C(version) and C(deployment).
        Each becomes a host of the diagnosis, named by its id.
    type: path
extends_documentation_fragment:
  - fediops.mastodon._attributes.known_issues
  - fediops.mastodon._attributes.waivers
  - fediops.mastodon._attributes
  - fediops.mastodon._attributes.controller
seealso:
  - module: fediops.mastodon.mastodon_diagnose
  - module: fediops.mastodon.mastodon_report
"""

EXAMPLES = r"""
- name: Name what a pasted log shows
  fediops.mastodon.mastodon_explain:
    log: sidekiq.log
    log_origin: sidekiq
    version: 4.3.2
  register: result

- name: Write the report
  fediops.mastodon.mastodon_report:
    diagnosis: "{{ result.diagnosis }}"
"""

RETURN = r"""
diagnosis:
  description:
    - As RV(fediops.mastodon.mastodon_diagnose#module:diagnosis), with one host for each log.
    - The verdict can also be V(unclassified) when nothing known was found, and the lines show errors that no known issue explains.
  returned: success
  type: dict
"""
