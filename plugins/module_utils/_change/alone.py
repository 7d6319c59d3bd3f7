# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One change by a module of its own (mastodon_env, mastodon_migration …): the same lock, journal and undo as a run (private).

Done in the module's own process: who calls a single module waits for it, and what is interrupted is taken back by the next run.
"""

from __future__ import annotations

import os
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import run, worker
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal
from ansible_collections.fediops.mastodon.plugins.module_utils._change.undo import take_back
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import survey
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible.module_utils.basic import AnsibleModule


def alone(module: AnsibleModule, name: str, function: Callable[[Change], None], options: dict[str, Any],
          root: str = "") -> dict[str, Any]:
    """Do it; `changed`, `diff`, `changes`, `run` (id, for rollback). Ends the module with one sentence when it does not work.

    Restarts that `function` asks for are done at once, like in a run.
    """
    if os.geteuid() != 0:
        module.fail_json(msg="only root can do this; run with become: true")
    step = run.new_steps([{"fix": name, "options": options}])[0]
    facts, ground = survey(["all", "!logs"], run.SURVEY_SECONDS, 3600.0, root, {})
    result: dict[str, Any] = {}
    try:
        if module.check_mode:
            function(Change(step, None, facts, ground, {}, secrets(ground)))
        else:
            result["run"] = _for_real(step, function, facts, ground, root)
    except worker.Busy as busy:
        module.fail_json(msg=str(busy))
    except (Refused, HostError, OSError) as problem:
        module.fail_json(msg=Change(step, None, {}, ground, {}, secrets(ground)).clean(str(problem)))
    diff = [{"before_header": each["what"], "after_header": each["what"], "before": each["before"], "after": each["after"]}
            for each in step["changes"]]
    changes = [each["what"] for each in step["changes"]]
    return dict(result, changed=bool(changes), diff=diff if module._diff else [], changes=changes)


def _for_real(step: dict[str, Any], function: Callable[[Change], None], facts: dict[str, Any], ground: dict[str, Any],
              root: str) -> str:
    run.preload()
    run_id = "%s-%s" % (time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime()), os.urandom(4).hex())
    handle = worker.lock(run_id, "")
    try:
        waiting = [journal for journal in run.left_open() if journal.lease_left() > 0]
        if waiting:
            raise worker.Busy("run %s is not finished on this host" % waiting[0].run["id"])
        if run.recover(""):
            # What was seen before is what the interrupted run had left.
            facts, ground = survey(["all", "!logs"], run.SURVEY_SECONDS, 3600.0, root, {})
        journal = Journal.create(run_id, "", [step])
        journal.run["alone"] = True
        change = Change(step, journal, facts, ground, {}, secrets(ground))
        step["state"] = "acting"
        journal.save()
        try:
            function(change)
        except Exception as problem:
            asked = change.asked
            take_back(Host(time.monotonic() + run.FOREVER), journal, step, run.own_undo(step["fix"]), asked)
            run.finish_services(journal, ground, asked)
            step.update(state="failed", reason=change.clean(str(problem))[:1000])
            journal.run.update(state="settled", finished_epoch=round(time.time(), 3))
            journal.save()
            raise
        if not step["changes"]:
            journal.forget()
            return ""
        step.update(state="applied", services=change.asked.as_dict())
        journal.save()
        problems = run.finish_services(journal, ground, change.asked)
        step["state"] = "kept"
        journal.run.update(state="settled", finished_epoch=round(time.time(), 3))
        journal.save()
        if problems:
            raise HostError("; ".join(problems))
        return run_id
    finally:
        os.close(handle)
