#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_trace
short_description: Merge and show what the logs of all hosts tell of one request
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Merges what M(fediops.mastodon.mastodon_trace_info) found on each host of the play, in order of time, names the cause when a known
    issue has a signature for it, and says plainly when the request never reached the application.
  - Writes C(trace.json) and shows the trace on the terminal.
  - Lines keep the time of the host that wrote them. Clocks that differ for sure are told, nothing is reordered.
  - Fails when the logs of a host could not be read, or not for all of the time. The trace is written before.
  - Runs on the controller, once for all hosts of the play, in check mode too.
options:
  found:
    description: Variables in which the play registered M(fediops.mastodon.mastodon_trace_info), a later pass behind an earlier one.
    type: list
    elements: str
    required: true
  directory:
    description: Folder for C(trace.json), relative to the folder Ansible was started in. Made when it is not there.
    type: path
    default: mastodon-report
  language:
    description: Language of the text. Log lines and evidence stay as they are.
    type: str
    choices: [en, fr]
    default: en
  display:
    description: V(now) shows the text at once, V(last) as the last of all output of the collection's playbooks, V(none) not at all.
    type: str
    choices: [now, last, none]
    default: now
extends_documentation_fragment:
  - fediops.mastodon._attributes.known_issues
  - fediops.mastodon._attributes
  - fediops.mastodon._attributes.controller
seealso:
  - module: fediops.mastodon.mastodon_trace_info
  - module: fediops.mastodon.mastodon_report
"""

EXAMPLES = r"""
- name: Find the request on every host
  fediops.mastodon.mastodon_trace_info:
    request_id: 6bc0960d-5001-43c3-a7f4-31376ce7a2a7
  become: true
  register: found

- name: Find what hosts whose logs have no ids say of it
  fediops.mastodon.mastodon_trace_info:
    request_id: 6bc0960d-5001-43c3-a7f4-31376ce7a2a7
    known: found
  become: true
  register: followed

- name: Show it
  fediops.mastodon.mastodon_trace:
    found: [found, followed]
  run_once: true
"""

RETURN = r"""
trace:
  description: The content of C(trace.json); its shape is in the collection's C(docs/trace.md).
  returned: when all logs were read
  type: dict
file:
  description: Where C(trace.json) was written.
  returned: always
  type: str
  sample: /home/admin/mastodon-report/trace.json
summary:
  description: The text of the terminal, without colours.
  returned: when all logs were read
  type: str
"""
