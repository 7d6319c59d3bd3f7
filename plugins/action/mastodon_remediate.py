# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remediate the hosts, one by one: what is planned is applied, proven, and kept or undone."""

from __future__ import annotations

import typing as t

from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _diagnosis, _options, _plan, _play, _run_folder, _waivers
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import HostAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._door import HostDoor
from ansible_collections.fediops.mastodon.plugins.plugin_utils._remediation import Remediation
from ansible_collections.fediops.mastodon.plugins.plugin_utils._run_folder import Board

OPTIONS: dict[str, t.Any] = {
    **_plan.OPTIONS,
    "assets_archive": {"type": "path"},
    "waivers": {"type": "list", "elements": "dict", "default": []},
    "waivers_dirs": {"type": "list", "elements": "path", "default": []},
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
    "gather_timeout": {"type": "float", "default": 10},
    "log_since": {"type": "str", "default": "1h"},
    "root": {"type": "str", "default": ""},
    "fail": {"type": "bool", "default": True},
}


class ActionModule(HostAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        options = _options.checked(OPTIONS, self._task.args)
        catalogue = _run_folder.catalogue(options["known_issues_dirs"])
        host = variables["inventory_hostname"]
        hosts = list(variables.get("ansible_play_hosts_all") or [host])
        facts, missing, _mistakes = _play.collect(hosts, variables["hostvars"])
        policy = _plan.policy_of(options, catalogue)
        if host not in facts or facts[host].get("schema") != 1:
            # The role reads the facts itself: there the failure has been shown, and the report tells of it again.
            why = missing.get(host, "has no facts of this version")
            result.update(failed=options["fail"], msg=why, remediation={"not_touched": "it could not be looked at"})
            return
        door = HostDoor(self, variables, options)
        job = Remediation(
            host=host,
            door=door,
            facts={name: _diagnosis.plain(fact) for name, fact in facts.items()},
            catalogue=catalogue,
            waivers=_waivers.read_waivers(options["waivers"], catalogue, options["waivers_dirs"]),
            policy=policy,
            board=Board(str(self._task._uuid)),
            log_since=options["log_since"],
            check_mode=bool(self._task.check_mode),
            built=host == policy.build_host and bool(options["assets_archive"]),
        )
        told = job.run()
        result["changed"] = door.changed or (job.check_mode and any(step["state"] == "planned" for step in told["steps"]))
        result["remediation"] = wrap_var(told)  # type: ignore[no-untyped-call]
        result["waits_for"] = job.waits_for()
        if door.diff and self._task.diff:
            result["diff"] = door.diff
        if job.observed:
            result["ansible_facts"] = {"mastodon": wrap_var(job.facts[host])}  # type: ignore[no-untyped-call]
        if told["failed"] and options["fail"]:
            result.pop("ansible_facts", None)  # Ansible takes none from a failed task, it would only print them
            result.update(failed=True, msg="; ".join(told["failed"]))
