# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: alert_rules
short_description: Alert rules of Prometheus, made from the known issues of this collection
version_added: 1.1.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Gives the text of a rules file with one rule for each known issue, and rules for a watch or a diagnosis that stopped.
  - The metrics come from M(fediops.mastodon.mastodon_monitor), through the textfile collector of node_exporter.
options:
  _terms:
    description: Directories with known issues of your own, as for O(fediops.mastodon.mastodon_monitor#module:known_issues_dirs).
    type: list
    elements: path
  stale_minutes:
    description: So long may the watch be silent.
    type: int
    default: 15
  diagnosis_stale_hours:
    description: So long may the full diagnosis be silent.
    type: int
    default: 50
seealso:
  - module: fediops.mastodon.mastodon_monitor
"""

EXAMPLES = r"""
- name: Give Prometheus its rules
  ansible.builtin.copy:
    content: "{{ lookup('fediops.mastodon.alert_rules') }}"
    dest: /etc/prometheus/rules/mastodon.yml
    mode: "0644"
    validate: promtool check rules %s
"""

RETURN = r"""
_raw:
  description: The text of the file.
  type: list
  elements: str
"""

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _alert_rules, _catalogue


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: object = None, **options: object) -> list[str]:
        self.set_options(var_options=variables, direct=options)  # type: ignore[no-untyped-call]  # ansible-core ships no types
        try:
            catalogue = _catalogue.load(terms)
        except _catalogue.CatalogueError as error:
            raise AnsibleError(str(error)) from None
        minutes, hours = (self.get_option(name) for name in ("stale_minutes", "diagnosis_stale_hours"))  # type: ignore[no-untyped-call]
        return [_alert_rules.text(catalogue, minutes, hours)]
