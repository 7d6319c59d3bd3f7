# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take back what a run of mastodon_remediate changed on this host."""

from __future__ import annotations

import time
import typing as t

from ansible.utils.display import Display
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _options
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import HostAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._door import HostDoor
from ansible_collections.fediops.mastodon.plugins.plugin_utils._remediation import Step, Trouble, told_of

OPTIONS: dict[str, t.Any] = {"run": {"type": "str", "default": ""}}


class ActionModule(HostAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        options = _options.checked(OPTIONS, self._task.args)
        door = HostDoor(self, variables, {"root": ""})
        try:
            run = door.look(options["run"])
        except Trouble as trouble:
            if options["run"] or "there is no run" not in str(trouble):
                result.update(failed=True, msg=str(trouble))
            else:  # of several hosts not each was remediated
                result["msg"] = "no run of a remediation is known on this host, nothing to take back"
                door.say(result["msg"])
            return
        steps = [told_of(step, step["state"]) for step in run["steps"]]
        given_up = [step for step in steps if "only_by_rollback" in step]
        if given_up and not options["run"]:
            result.update(failed=True, msg=f"{_at_stake(run, given_up)}; to do that, name the run: -e run={run['id']}")
            return
        if given_up:
            Display().warning(f"{variables['inventory_hostname']}: {_at_stake(run, given_up)}")
        due = [step["fix"] for step in steps if _goes(step)]
        if due and not self._task.check_mode:
            try:
                run = door.roll_back(run["id"])
            except Trouble as trouble:
                result.update(failed=True, msg=str(trouble))
                return
            steps = [told_of(step, step["state"]) for step in run["steps"]]
        back = [step for step in steps if step["fix"] in due]
        changed = not all("services_only" in step for step in back)
        result.update(changed=changed, run=run["id"], steps=wrap_var(steps))  # type: ignore[no-untyped-call]
        if not due:
            already = any(step["state"] == "rolled_back" for step in steps)
            door.say(f"run {run['id']} " + ("was rolled back already" if already else "left nothing that could be taken back"))
        for step in back:
            if "services_only" in step:
                door.say(f"{step['fix']} only started or restarted services: nothing to take back, they go on")
            elif step["state"] != "rolled_back":
                door.say(f"{step['fix']} would be taken back")
            else:
                door.say(f"{step['fix']} was taken back" + (f": {step['reason']}" if step["reason"] else ""))
        for step in steps:
            if step["state"] == "kept" and "cannot_undo" in step:
                door.say(f"{step['fix']} stays: {step['cannot_undo']}")
        broken = [step for step in steps if step["state"] == "rolled_back" and "could not be taken back" in step["reason"]]
        if broken:
            result.update(failed=True, msg="; ".join(f"{step['fix']}: {step['reason']}" for step in broken))


def _goes(step: Step) -> bool:
    """Whether a rollback takes it back."""
    return "only_by_rollback" in step or (step["state"] == "kept" and "cannot_undo" not in step)


def _at_stake(run: Result, given_up: list[Step]) -> str:
    """What is lost by taking back steps after which the world wrote on."""
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run.get("finished_epoch") or run["started_epoch"]))
    return (
        f"taking back {', '.join(step['fix'] for step in given_up)} of run {run['id']} gives up what was written since {since}: "
        "it stays behind in a database that Mastodon does not use any more"
    )
