#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_fix
short_description: Apply, judge or roll back documented fixes on a Mastodon server
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - The part of M(fediops.mastodon.mastodon_remediate) that runs on the host. Use the role P(fediops.mastodon.remediate#role), which plans,
    verifies, and undoes what did not help; use this module alone to apply one fix of your own choice.
  - Every act is written to a journal below C(/var/lib/fediops.mastodon) before it is carried out, so that it can be taken back.
  - Works in a process of its own, which goes on when the connection is lost. The module follows it for O(wait_seconds) a call; call it
    again with O(state=followed) until RV(working) is false.
options:
  state:
    description:
      - V(applied) carries out O(steps), restarts what they ask for, and leaves the run open for V(settled).
      - V(followed) waits for a run that still works.
      - V(settled) keeps the steps of a run, but undoes those named in O(verdicts).
      - V(rolled_back) takes back a settled run, or the newest one when O(run) is empty.
    type: str
    choices: [applied, followed, settled, rolled_back]
    default: applied
  run:
    description:
      - Id of the run. For V(applied) a new one, which is made up when empty.
    type: str
    default: ''
  steps:
    description:
      - What to do, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      fix:
        description: Name of the fix.
        type: str
        required: true
      issues:
        description: Known issues that it is to cure.
        type: list
        elements: str
        default: []
      covers:
        description:
          - The issues and what they explain, for the history of this host. O(steps[].issues) when not given.
          - An empty list says that the step cures none of them by itself.
        type: list
        elements: str
      impact:
        description: What the fix may do at most; told in the journal.
        type: str
        default: ''
      options:
        description: Options of the fix.
        type: dict
        default: {}
  verdicts:
    description:
      - For V(settled), number of a step to the reason why it is to be undone.
    type: dict
    default: {}
  controller:
    description:
      - Who runs this, for those who find the host locked.
    type: str
    default: ''
  wait_seconds:
    description:
      - How long one call follows the work, in seconds.
    type: float
    default: 10
extends_documentation_fragment:
  - fediops.mastodon._attributes.changes
  - fediops.mastodon._attributes.root
seealso:
  - module: fediops.mastodon.mastodon_remediate
"""

EXAMPLES = r"""
- name: Make the kept media writable for Mastodon again
  fediops.mastodon.mastodon_fix:
    steps:
      - fix: fix_media_permissions
        issues: [media_permissions]
  become: true
  register: applied

- name: Keep it
  fediops.mastodon.mastodon_fix:
    state: settled
    run: "{{ applied.run.id }}"
  become: true

- name: Take the newest run back
  fediops.mastodon.mastodon_fix:
    state: rolled_back
  become: true
"""

RETURN = r"""
run:
  description: The run as its journal tells it (C(docs/remediation.md)); in check mode only its C(steps).
  returned: always, unless RV(busy)
  type: dict
working:
  description: Whether the work goes on.
  returned: always
  type: bool
busy:
  description: Why this host cannot be worked on now.
  returned: when another run has it
  type: str
retry_after_seconds:
  description: When an unfinished run may be taken over, in seconds; absent when somebody alive works.
  returned: when RV(busy) and the run is waiting for its controller
  type: float
"""

import os
import time

from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fediops.mastodon.plugins.module_utils._change import run as _run
from ansible_collections.fediops.mastodon.plugins.module_utils._change import worker
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal, journals
from ansible_collections.fediops.mastodon.plugins.module_utils._fixes import FIXES
from ansible_collections.fediops.mastodon.plugins.module_utils._runs import is_run_id

if TYPE_CHECKING:
    from collections.abc import Callable

DONE = ("applied", "kept", "undone", "rolled_back")


class Stop(Exception):
    """One sentence for the user."""


def apply(module: AnsibleModule) -> dict[str, Any]:
    steps = _run.new_steps(module.params["steps"])
    unknown = [step["fix"] for step in steps if step["fix"] not in FIXES]
    if unknown:
        raise Stop("there is no fix %r; known are %s" % (unknown[0][:60], ", ".join(sorted(FIXES))))
    if module.check_mode:
        return {"run": {"steps": _run.rehearse(steps, module.params["root"])}, "working": False}
    run_id = module.params["run"] or "%s-%s" % (time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime()), os.urandom(4).hex())
    if not is_run_id(run_id):
        raise Stop("run is an id like 2026-11-21T09-12-44Z-3f2a, not %r" % run_id[:60])
    _run.preload()
    handle = worker.lock(run_id, module.params["controller"])
    waiting = [journal for journal in _run.left_open() if journal.lease_left() > 0]
    if waiting:
        os.close(handle)
        newest = waiting[0].run
        return {"busy": "run %s of %s is not finished on this host" % (newest["id"], newest["controller"] or "another controller"),
                "retry_after_seconds": round(max(journal.lease_left() for journal in waiting), 1), "working": False}
    journal = Journal.create(run_id, module.params["controller"], steps)
    journal.lease()
    worker.launch(handle, journal, lambda mine: _run.act(mine, module.params["root"]))
    return followed(run_id, module.params["wait_seconds"])


def followed(run_id: str, seconds: float) -> dict[str, Any]:
    run = worker.follow(run_id, seconds)
    if run is None:
        raise Stop("there is no run %r on this host" % run_id[:60])
    working = run.pop("working")
    if not working and run["state"] == "acting":
        raise Stop("the run %s broke off (%s); the next run takes back what it began" % (run_id, run.get("error", "its process is gone")))
    return {"run": run, "working": working}


def settle(module: AnsibleModule) -> dict[str, Any]:
    journal = _known(module)
    if module.check_mode:
        return {"run": journal.run, "working": False, "unchanged": True}
    verdicts = {int(number): str(reason) for number, reason in module.params["verdicts"].items() if str(number).isdigit()}

    def demand(run: dict[str, Any]) -> None:
        if run["state"] != "acted":
            raise Stop("run %s is %s and cannot be settled: another run took it over" % (run["id"], run["state"]))

    demand(journal.run)
    return _alone_with(module, journal.run["id"], demand, lambda mine: _run.settle(mine, verdicts))


def roll_back(module: AnsibleModule) -> dict[str, Any]:
    journal = _known(module)
    if journal.run["state"] == "rolled_back":
        return {"run": journal.run, "working": False, "unchanged": True}
    if journal.run["state"] != "settled":
        raise Stop("run %s is not finished (%s); the next remediation finishes or undoes it" % (journal.run["id"], journal.run["state"]))
    if module.check_mode:
        return {"run": journal.run, "working": False, "unchanged": not any(_run.can_be_rolled_back(step) for step in journal.run["steps"])}

    def demand(run: dict[str, Any]) -> None:
        if run["state"] != "settled":
            raise Stop("run %s has been %s meanwhile" % (run["id"], run["state"].replace("_", " ")))

    return _alone_with(module, journal.run["id"], demand, _run.roll_back)


def _alone_with(module: AnsibleModule, run_id: str, demand: Callable[[dict[str, Any]], None],
                job: Callable[[Journal], None]) -> dict[str, Any]:
    """Let a worker do it to the run as it is under the lock: what was seen before it another run may have settled."""
    _run.preload()
    handle = worker.lock(run_id, module.params["controller"])
    try:
        journal = Journal.load(run_id)
        if journal is None:
            raise Stop("there is no run %s on this host any more" % run_id)
        demand(journal.run)
    except BaseException:
        os.close(handle)
        raise
    worker.launch(handle, journal, job)
    return followed(run_id, module.params["wait_seconds"])


def _known(module: AnsibleModule) -> Journal:
    run_id = module.params["run"]
    if run_id and not is_run_id(run_id):
        raise Stop("run is an id like 2026-11-21T09-12-44Z-3f2a, not %r" % run_id[:60])
    found = Journal.load(run_id) if run_id else next(iter(journals()), None)
    if found is None:
        raise Stop("there is no run %s on this host; the last ones are %s" % (
            run_id, ", ".join(journal.run["id"] for journal in journals()[:5]) or "none"))
    return found


def main() -> None:
    module = AnsibleModule(  # type: ignore[no-untyped-call]  # ansible-core ships no types
        argument_spec={
            "state": {"type": "str", "choices": ["applied", "followed", "settled", "rolled_back"], "default": "applied"},
            "run": {"type": "str", "default": ""},
            "steps": {"type": "list", "elements": "dict", "default": [], "options": {
                "fix": {"type": "str", "required": True},
                "issues": {"type": "list", "elements": "str", "default": []},
                "covers": {"type": "list", "elements": "str"},
                "impact": {"type": "str", "default": ""},
                "options": {"type": "dict", "default": {}},
            }},
            "verdicts": {"type": "dict", "default": {}},
            "controller": {"type": "str", "default": ""},
            "root": {"type": "path", "default": ""},
            "wait_seconds": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="only root can apply fixes; run with become: true")
    try:
        if module.params["state"] == "applied":
            result = apply(module)
        elif module.params["state"] == "followed":
            result = followed(module.params["run"], module.params["wait_seconds"])
        elif module.params["state"] == "settled":
            result = settle(module)
        else:
            result = roll_back(module)
    except worker.Busy as busy:
        result = {"busy": str(busy), "working": False}
    except (Stop, Refused) as problem:
        module.fail_json(msg=str(problem))
    except OSError as problem:
        module.fail_json(msg="the journal or lock of this host could not be written: %s" % problem)
    steps = result.get("run", {}).get("steps", [])
    changed = not result.pop("unchanged", False) and any(step["changes"] and step["state"] in DONE for step in steps)
    diff = [{"before_header": each["what"], "after_header": each["what"], "before": each["before"], "after": each["after"]}
            for step in steps for each in step["changes"]]
    module.exit_json(changed=changed, diff=diff if module._diff else [], **result)


if __name__ == "__main__":
    main()
