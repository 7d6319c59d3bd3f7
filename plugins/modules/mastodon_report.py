#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_report
short_description: Write and show the report of a diagnosis
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Writes what M(fediops.mastodon.mastodon_diagnose) found as a page, as JSON, as Markdown and as JUnit XML, and shows it on the terminal.
  - Fails when a finding of the chosen severity is there, and whenever a host could not be fully checked. The report is written before.
  - Either all files are written or none; a file is replaced at once.
  - Runs on the controller, once for all hosts of the play, in check mode too.
options:
  diagnosis:
    description: RV(fediops.mastodon.mastodon_diagnose#module:diagnosis).
    type: dict
    required: true
  directory:
    description: Folder for the files, relative to the folder Ansible was started in. Made when it is not there.
    type: path
    default: mastodon-report
  language:
    description: Language of the terminal, of C(report.md) and C(junit.xml), and in which the page opens. Page and JSON hold both.
    type: str
    choices: [en, fr]
    default: en
  formats:
    description:
      - Files to write, C(index.html), C(diagnosis.json), C(junit.xml) and C(report.md).
    type: list
    elements: str
    choices: [html, json, junit, markdown]
    default: [html, json, junit, markdown]
  fail_on:
    description: Fail when a finding of this severity or worse is there.
    type: str
    choices: [never, critical, error, warning]
    default: never
  display:
    description:
      - When to show the text. V(last) is after everything else and needs the callback plugin beside the playbooks of this collection; in
        another playbook it is the same as V(now).
    type: str
    choices: [now, last, none]
    default: now
extends_documentation_fragment:
  - fediops.mastodon._attributes
  - fediops.mastodon._attributes.controller
seealso:
  - module: fediops.mastodon.mastodon_diagnose
"""

EXAMPLES = r"""
- name: Write the report, and fail when something is broken
  fediops.mastodon.mastodon_report:
    diagnosis: "{{ result.diagnosis }}"
    directory: mastodon-report
    language: fr
    fail_on: error
"""

RETURN = r"""
directory:
  description: Where the files are.
  returned: when they could be written
  type: str
  sample: /home/admin/mastodon-report
files:
  description: The files.
  returned: when they could be written
  type: list
  elements: str
  sample: [/home/admin/mastodon-report/index.html]
summary:
  description: The text of the terminal, without colours.
  returned: success
  type: str
"""
