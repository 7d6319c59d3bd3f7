# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tasks of a play know of its hosts. Private to this collection."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import branch
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

# What the roles register.
FACTS_RESULT = "__mastodon_facts_result"  # holds the reason when there are no facts
REMEDIATION_RESULT = "__mastodon_remediation_result"


def collect(hosts: list[str], hostvars: t.Any) -> tuple[dict[str, t.Any], dict[str, str], list[str]]:
    """(facts of each host, reason for each host that has none, what was wrong with the user's input).

    raw_get does not render: log lines in the facts come from strangers, and a `{{ }}` among them must stay text.
    """
    facts: dict[str, t.Any] = {}
    missing: dict[str, str] = {}
    mistakes: list[str] = []
    for host in hosts:
        known = hostvars.raw_get(host)
        result = known.get(FACTS_RESULT) or {}
        mastodon = (known.get("ansible_facts") or {}).get("mastodon")
        if result.get("unreachable") or result.get("failed"):  # facts from a cache are not those of this run
            missing[host] = _reason(result)
            if result.get("bad_input"):
                mistakes.append(missing[host])
        elif mastodon is None:
            missing[host] = "has no facts: mastodon_facts failed or was not run (its result is looked for in __mastodon_facts_result)"
        else:
            facts[host] = mastodon
    return facts, missing, mistakes


def traces(hosts: list[str], hostvars: t.Any, name: str) -> tuple[dict[str, t.Any], dict[str, str], list[str]]:
    """(trace of each host, reason for each host that has none, what was wrong with the user's input), from a registered variable."""
    found: dict[str, t.Any] = {}
    missing: dict[str, str] = {}
    mistakes: list[str] = []
    for host in hosts:
        result = branch(hostvars.raw_get(host), name)
        if isinstance(result.get("trace"), dict) and not result.get("failed") and not result.get("unreachable"):
            found[host] = json.loads(json.dumps(result["trace"], default=str))
        else:
            missing[host] = _reason(result) if result else f"has no trace: mastodon_trace_info was not run (it is looked for in {name})"
            if result.get("bad_input"):
                mistakes.append(missing[host])
    return found, missing, mistakes


def _reason(result: t.Mapping[str, t.Any]) -> str:
    told = clean_line(result.get("msg") or "no reason was given", 1000)
    if result.get("bad_input"):
        return told
    return f"unreachable: {told}" if result.get("unreachable") else f"failed: {told}"


def remediations(hosts: list[str], hostvars: t.Any) -> dict[str, t.Any]:
    """What mastodon_remediate did on each host of this run."""
    told = {host: branch(hostvars.raw_get(host), REMEDIATION_RESULT).get("remediation") for host in hosts}
    return {host: what for host, what in told.items() if isinstance(what, dict)}
