# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A diagnosis becomes a plan, which is shown before anything is done."""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _diagnosis, _options, _plan, _play, _run_folder
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import PlayAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

OPTIONS: dict[str, t.Any] = {
    **_plan.OPTIONS,
    "diagnosis": {"type": "dict", "required": True},
    "language": {"type": "str", "choices": ["en", "fr"], "default": "en"},
}
_MOST_LINES = 200


class ActionModule(PlayAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        options = _options.checked(OPTIONS, self._task.args)
        diagnosis = _diagnosis.plain(options["diagnosis"])
        if diagnosis.get("schema") != _diagnosis.SCHEMA or not isinstance(diagnosis.get("hosts"), dict):
            raise _options.OptionError("diagnosis is not the result of fediops.mastodon.mastodon_diagnose (schema 1)")
        policy = _plan.policy_of(options, diagnosis["known_issues"])
        hosts = list(variables.get("ansible_play_hosts_all") or [variables["inventory_hostname"]])
        _plan.check_build_host(policy, (variables.get("groups") or {}).get("all") or hosts)
        facts, _missing, _mistakes = _play.collect(hosts, variables["hostvars"])
        plain = {host: _diagnosis.plain(fact) for host, fact in facts.items() if isinstance(fact, dict)}
        plan = _plan.plan(diagnosis, plain, policy, hosts=hosts)
        for line in lines(plan, options["language"])[:_MOST_LINES]:
            Display().display(line)
        if plan["copies_assets"]:
            # Chosen here, once: a lookup of DEFAULT_LOCAL_TMP in the role would make a new folder each time it is rendered.
            result["assets_archive"] = str(_run_folder.archive_of_assets())
        result["plan"] = wrap_var(plan)  # type: ignore[no-untyped-call]


def lines(plan: _plan.Plan, language: str) -> list[str]:
    """The plan as text, a step a line."""
    told = []
    for host, planned in plan["hosts"].items():
        for step in planned["steps"]:
            line = f"{clean_line(host, 80)}: {step['fix']} ({step['impact']}) <- {', '.join(step['issues'])}"
            if not step["allowed"]:
                line += f"  [{step['why_not'][language]}{'; ' + step['allow_with'] if 'allow_with' in step else ''}]"
            told.append(line)
    return told
