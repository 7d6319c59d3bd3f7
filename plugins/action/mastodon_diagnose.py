# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts of all hosts of the play become one diagnosis."""

from __future__ import annotations

import pathlib
import time
import typing as t
import uuid

from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _diagnosis, _options, _run_folder, _waivers
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import PlayAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._collection import version
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

FACTS_RESULT = "__mastodon_facts_result"  # what the role registers; holds the reason when there are no facts
OPTIONS: dict[str, t.Any] = {
    "waivers": {"type": "list", "elements": "dict", "default": []},
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
}


class ActionModule(PlayAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        result["diagnosis"] = wrap_var(self._diagnosis(variables))  # type: ignore[no-untyped-call]

    def _diagnosis(self, variables: dict[str, t.Any]) -> _diagnosis.Diagnosis:
        now = time.time()
        options = _options.checked(OPTIONS, self._task.args)
        catalogue = _catalogue.load(str(pathlib.Path(name).absolute()) for name in options["known_issues_dirs"])
        waivers = _waivers.read_waivers(options["waivers"], catalogue)
        hosts = list(variables.get("ansible_play_hosts_all") or [variables["inventory_hostname"]])
        facts, missing, mistakes = _collect(hosts, variables["hostvars"])
        if mistakes and len(mistakes) == len(hosts):
            raise _options.OptionError(mistakes[0])
        return _diagnosis.diagnose(facts, catalogue, waivers=waivers, unreachable=missing, now=now, run=_run(now, facts))


def _collect(hosts: list[str], hostvars: t.Any) -> tuple[dict[str, t.Any], dict[str, str], list[str]]:
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


def _reason(result: t.Mapping[str, t.Any]) -> str:
    told = clean_line(result.get("msg") or "no reason was given", 1000)
    if result.get("bad_input"):
        return told
    return f"unreachable: {told}" if result.get("unreachable") else f"failed: {told}"


def _run(now: float, facts: dict[str, t.Any]) -> dict[str, t.Any]:
    spent = [fact["seconds"] for fact in facts.values() if isinstance(fact, dict) and isinstance(fact.get("seconds"), (int, float))]
    started = _run_folder.started or now - max(spent, default=0.0)
    return {
        "id": str(uuid.uuid4()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(now - started, 3),
        "collection": version(),
    }
