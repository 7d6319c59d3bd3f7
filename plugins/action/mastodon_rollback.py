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
            nothing = not options["run"] and "there is no run" in str(trouble)  # of several hosts not each was remediated
            result.update(failed=not nothing, msg=str(trouble))
            return
        steps = [told_of(step, step["state"]) for step in run["steps"]]
        left = [step for step in steps if step["state"] == "kept"]
        result.update(changed=door.changed, run=run["id"], steps=wrap_var(steps))  # type: ignore[no-untyped-call]
        for step in steps:
            if step["state"] == "rolled_back" and door.changed:
                door.say(f"{step['fix']} was taken back" + (f": {step['reason']}" if step["reason"] else ""))
        for step in left:
            door.say(f"{step['fix']} stays: {step['cannot_undo']}" if "cannot_undo" in step else f"{step['fix']} would be taken back")
        broken = [step for step in steps if step["state"] == "rolled_back" and "could not be taken back" in step["reason"]]
        if broken:
            result.update(failed=True, msg="; ".join(f"{step['fix']}: {step['reason']}" for step in broken))
