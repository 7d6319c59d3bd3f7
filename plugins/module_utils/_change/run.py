# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run on this host: its steps, the services, the verdict on each step, what an earlier run left open (docs/remediation.md §2; private).

Everything here works under the lock of the host, in the worker process.
"""

from __future__ import annotations

import importlib
import shutil
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import services
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Asked, Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal, forget_old, journals
from ansible_collections.fediops.mastodon.plugins.module_utils._change.undo import take_back
from ansible_collections.fediops.mastodon.plugins.module_utils._fixes import FIXES, why_not_in_containers
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import SUBSETS, survey
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import secrets

if TYPE_CHECKING:
    from types import ModuleType

    # Also what makes Ansible pack these files: it follows import statements, wherever they stand.
    from ansible_collections.fediops.mastodon.plugins.module_utils._fix import (  # noqa: F401
        add_swap,
        allow_writes,
        convert_encoding,
        copy_assets,
        cover_queues,
        enable_request_log,
        fix_media_permissions,
        fix_redis_policy,
        install_media_tools,
        install_node_modules,
        let_redis_save,
        migrate_database,
        open_home,
        raise_proxy_timeouts,
        rebuild_assets,
        reclaim_disk,
        repair_indexes,
        reset_log_level,
        restart_services,
        set_rails_env,
        set_stop_timeout,
        set_trusted_proxies,
        start_services,
        sync_clock,
        tune_concurrency,
    )

SURVEY_SECONDS = 30.0
UNITS_SECONDS = 60.0  # only what hangs takes it, and who does not know the role of a unit restarts Sidekiq without draining it
FOREVER = 10 * 365 * 86400.0


def module_of(fix: str) -> ModuleType:
    return importlib.import_module("ansible_collections.fediops.mastodon.plugins.module_utils._fix." + fix)


def own_undo(fix: str) -> Any:
    """What a fix says of taking back operations of its own kinds; a module used alone has no fix of its name and needs none."""
    return getattr(module_of(fix), "UNDO", {}) if fix in FIXES else {}


def preload() -> None:
    """Load all code now: Ansible takes the file it comes from away while the worker still runs."""
    for fix in FIXES:
        module_of(fix)
    for subset in SUBSETS:
        importlib.import_module("ansible_collections.fediops.mastodon.plugins.module_utils._observe." + subset)


def new_steps(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Steps of run.json for the steps of a plan."""
    return [{"number": number, "fix": step["fix"], "issues": list(step.get("issues") or []),
             "covers": list((step.get("issues") if step.get("covers") is None else step["covers"]) or []), "impact": step.get("impact", ""),
             "options": step.get("options") or {}, "state": "pending", "reason": "", "undoable": True, "changes": [], "services": {}}
            for number, step in enumerate(asked, 1)]


def act(journal: Journal, root: str) -> None:
    """All steps, then the services. What a step does not manage is undone at once; the others go on."""
    # A controller that asks for nothing comes to finish what was left open, and judges what is complete.
    journal.run["recovered"] = recover(journal.run["id"], to_judge=not journal.run["steps"])
    journal.run["unjudged"] = [{"id": left.run["id"], "steps": left.run["steps"]} for left in left_open(journal.run["id"])
                               if left.run["state"] == "acted"]
    journal.say("observing the host")
    facts, ground = survey(["all", "!logs"], SURVEY_SECONDS, 3600.0, root, {})
    hidden = secrets(ground)
    asked = Asked()
    for step in journal.run["steps"]:
        _carry_out(step, journal, facts, ground, {}, hidden, asked)
    finish_services(journal, ground, asked)
    for step in journal.run["steps"]:
        _check(step, journal, ground, hidden)
    now = round(time.time(), 3)
    # Where nothing was applied there is nothing to judge.
    applied = any(step["state"] == "applied" for step in journal.run["steps"])
    journal.run.update(state="acted" if applied else "settled", acted_epoch=now, finished_epoch=now)
    journal.save()


def rehearse(steps: list[dict[str, Any]], root: str) -> list[dict[str, Any]]:
    """What the steps would do (check mode): nothing is written, and no lock is needed."""
    facts, ground = survey(["all", "!logs"], SURVEY_SECONDS, 3600.0, root, {})
    overlay: dict[str, Any] = {}
    for step in steps:
        _carry_out(step, None, facts, ground, overlay, secrets(ground), Asked())
    return steps


def settle(journal: Journal, verdicts: dict[int, str]) -> None:
    """Keep the steps that cured, undo those of which `verdicts` holds a reason against them; newest first."""
    asked = _owed(journal)
    for step in reversed(journal.run["steps"]):
        if step["state"] != "applied":
            continue
        reason = verdicts.get(step["number"], "")
        if reason and step["undoable"] and not step.get("only_by_rollback"):
            _undo(journal, step, asked, "undone", reason)
        else:
            step.update(state="failed" if reason else "kept", reason=reason)
    _finish(journal, asked, "settled")


def roll_back(journal: Journal) -> None:
    """Restore what a finished run changed; steps whose effect cannot be taken back say so."""
    asked = _owed(journal)
    for step in reversed(journal.run["steps"]):
        if can_be_rolled_back(step):
            _undo(journal, step, asked, "rolled_back", "")
    _finish(journal, asked, "rolled_back")


def can_be_rolled_back(step: dict[str, Any]) -> bool:
    """Whether its effect is there and a rollback takes it away."""
    there = step["state"] == "kept" or (step["state"] == "failed" and step.get("only_by_rollback"))
    return bool(step["undoable"] and there)


def left_open(but: str = "") -> list[Journal]:
    """Runs that nobody finished, newest first; also one whose rollback broke off before its services were seen to."""
    return [journal for journal in journals() if journal.run["id"] != but
            and (journal.run["state"] in ("acting", "acted") or any((journal.run.get("owed") or {}).values()))]


def recover(but: str, to_judge: bool = False) -> list[str]:
    """Finish or undo what dead runs left open; their ids.

    What was applied completely is kept; `to_judge`: is left for the caller to settle, who looks whether it cured.
    """
    found = []
    for journal in left_open(but):
        found.append(journal.run["id"])
        asked, state = _owed(journal), "settled"
        for step in reversed(journal.run["steps"]):
            complete = _is_complete(step, journal) if step["state"] == "acting" else False
            if complete is not False:
                asked.start += [each["unit"] for each in journal.operations(step) if each["kind"] == "stopped"]
            if complete is None:
                state = "acting"  # the next run asks again
            elif complete:
                step.update(state="kept", reason="not judged: its run was interrupted when all was done")
            elif step["state"] == "acting":
                if step["undoable"]:
                    _undo(journal, step, asked, "undone", "interrupted; this step was taken back by the next run")
                else:  # services and what is torn are seen to all the same
                    stays = step.get("kept_because") or "the rest stays"
                    _undo(journal, step, asked, "failed", "interrupted; what can be taken back was, by the next run; %s" % stays)
            elif step["state"] == "pending":
                step.update(state="refused", reason="interrupted before this step began")
            elif step["state"] == "applied":
                if not journal.run["services_done"]:
                    _join(asked, Asked.of(step["services"]))
                if to_judge and step["covers"]:
                    state = "acted" if state == "settled" else state
                else:
                    step.update(state="kept", reason="not judged: its run was interrupted")
        _finish(journal, asked, state)
    return found


def _carry_out(step: dict[str, Any], journal: Journal | None, facts: dict[str, Any], ground: dict[str, Any], overlay: dict[str, Any],
               hidden: list[str], asked: Asked) -> None:
    change = Change(step, journal, facts, ground, overlay, hidden)
    _note(journal, step, "acting", "")
    try:
        why_not = why_not_in_containers(step["fix"], "compose" in ground) if ground.get("deployment") == "docker" else None
        if why_not is not None:
            raise Refused("Mastodon runs in containers here: " + why_not[0])
        module_of(step["fix"]).fix(change)
    except Refused as refusal:
        _give_up(journal, step, change, asked, "refused", str(refusal))
        return
    except (HostError, OSError) as problem:
        _give_up(journal, step, change, asked, "failed", str(problem))
        return
    except Exception as problem:  # noqa: BLE001  whatever it is, what was done is taken back and the other steps go on
        _give_up(journal, step, change, asked, "failed", "%s: %s" % (type(problem).__name__, problem))
        return
    step["services"] = change.asked.as_dict()
    _join(asked, change.asked)
    _note(journal, step, "applied" if step["changes"] else "nothing", "")


def _give_up(journal: Journal | None, step: dict[str, Any], change: Change, asked: Asked, state: str, reason: str) -> None:
    step["reason"] = change.clean(reason)[:1000]
    if journal is None:
        step["state"] = state
        return
    step["services"] = change.asked.as_dict()
    if journal.operations(step):
        # Refused means: nothing touched. What did act before it gave up is taken back like a failure.
        _undo(journal, step, asked, "failed", step["reason"])
    else:
        _note(journal, step, state, step["reason"])


def finish_services(journal: Journal, ground: dict[str, Any], asked: Asked) -> list[str]:
    """What was asked of the services; sentences about what did not work, which the journal keeps too."""
    problems = services.carry_out(Host(time.monotonic() + FOREVER), asked, ground, journal.say)
    journal.run.update(services_done=True, owed={})
    journal.run["problems"] = [*journal.run.get("problems", []), *problems]
    journal.save()
    return problems


def _check(step: dict[str, Any], journal: Journal, ground: dict[str, Any], hidden: list[str]) -> None:
    """What the fix itself can say about its effect, with the services as they are now."""
    check = getattr(module_of(step["fix"]), "check", None)
    if step["state"] != "applied" or check is None:
        return
    try:
        step["not_in_effect"] = check(Change(dict(step, changes=[]), journal, {}, ground, {}, hidden))
    except (Refused, HostError, OSError) as problem:
        step["not_in_effect"] = str(problem)


def _undo(journal: Journal, step: dict[str, Any], asked: Asked, state: str, reason: str) -> None:
    journal.say("taking back %s" % step["fix"])
    problems = take_back(Host(time.monotonic() + FOREVER), journal, step, own_undo(step["fix"]), asked)
    # In the same write as the state: a step that is taken back is not looked at again, and what it stopped must start all the same.
    journal.run["owed"] = asked.as_dict()
    _note(journal, step, state, "; ".join([reason, *problems] if reason else problems))


def _finish(journal: Journal, asked: Asked, state: str) -> None:
    _facts, ground = survey(["install"], UNITS_SECONDS, 3600.0, "", {})
    finish_services(journal, ground, asked)
    journal.run.update(state=state, finished_epoch=round(time.time(), 3))
    journal.save()
    for old in forget_old():
        for step in old.run["steps"]:
            for operation in old.operations(step):
                if operation["kind"] == "directory":
                    shutil.rmtree(operation["kept"], ignore_errors=True)
        old.forget()


def _is_complete(step: dict[str, Any], journal: Journal) -> bool | None:
    """Whether a fix, asked by its operations, says that its effect is there and must stay (`completed`); None: it cannot tell yet."""
    completed = getattr(module_of(step["fix"]), "completed", None) if step["fix"] in FIXES else None
    if completed is None:
        return False
    try:
        return bool(completed(journal.operations(step), journal.say))
    except (HostError, OSError) as problem:
        step["reason"] = "interrupted; how far it came is not known yet: %s" % str(problem)[:500]
        return None


def _owed(journal: Journal) -> Asked:
    """What steps that are taken back already still need of the services."""
    return Asked.of(journal.run.get("owed") or {})


def _join(asked: Asked, more: Asked) -> None:
    asked.reload_units = asked.reload_units or more.reload_units
    for mine, theirs in ((asked.restart, more.restart), (asked.reload, more.reload), (asked.start, more.start),
                         (asked.awaited, more.awaited)):
        mine.extend(name for name in theirs if name not in mine)


def _note(journal: Journal | None, step: dict[str, Any], state: str, reason: str) -> None:
    step.update(state=state, reason=reason)
    if journal is not None:
        journal.save()
