# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take back what a run of mastodon_remediate changed on this host."""

from __future__ import annotations

import typing as t

from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _options
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import HostAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._door import HostDoor
from ansible_collections.fediops.mastodon.plugins.plugin_utils._remediation import Trouble, told_of

OPTIONS: dict[str, t.Any] = {"run": {"type": "str", "default": ""}}


class ActionModule(HostAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        options = _options.checked(OPTIONS, self._task.args)
        door = HostDoor(self, variables, {"root": ""})
        try:
            run = door.roll_back(options["run"])
        except Trouble as trouble:
            if options["run"] or "there is no run" not in str(trouble):
                result.update(failed=True, msg=str(trouble))
            else:  # of several hosts not each was remediated
                result["msg"] = "no run of a remediation is known on this host, nothing to take back"
                door.say(result["msg"])
            return
        steps = [told_of(step, step["state"]) for step in run["steps"]]
        left = [step for step in steps if step["state"] == "kept"]
        back = [step for step in steps if step["state"] == "rolled_back" or (step in left and "cannot_undo" not in step)]
        changed = door.changed and not all("services_only" in step for step in back)
        result.update(changed=changed, run=run["id"], steps=wrap_var(steps))  # type: ignore[no-untyped-call]
        if not door.changed:
            already = any(step["state"] == "rolled_back" for step in steps)
            door.say(f"run {run['id']} " + ("was rolled back already" if already else "left nothing that could be taken back"))
        for step in back if door.changed else ():
            if "services_only" in step:
                door.say(f"{step['fix']} only started or restarted services: nothing to take back, they go on")
            elif step in left:
                door.say(f"{step['fix']} would be taken back")
            else:
                door.say(f"{step['fix']} was taken back" + (f": {step['reason']}" if step["reason"] else ""))
        for step in left:
            if "cannot_undo" in step:
                door.say(f"{step['fix']} stays: {step['cannot_undo']}")
        broken = [step for step in steps if step["state"] == "rolled_back" and "could not be taken back" in step["reason"]]
        if broken:
            result.update(failed=True, msg="; ".join(f"{step['fix']}: {step['reason']}" for step in broken))
