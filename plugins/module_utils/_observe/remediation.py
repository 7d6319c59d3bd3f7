# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset remediation: what this collection did to this host, as the journals of its runs tell (docs/remediation.md §2, §4)."""

from __future__ import annotations

import math
import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostDenied, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._runs import KEPT_RUNS, MAX_RUN_BYTES, PLACES, is_run_id, run_of

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

OPEN_STATES = ("acting", "acted")
STATES = OPEN_STATES + ("settled", "rolled_back")
STEP_STATES = ("pending", "acting", "applied", "nothing", "refused", "failed", "kept", "undone", "rolled_back")
MOST_STEPS = 50
MOST_ISSUES = 100
AHEAD_SECONDS = 60.0  # a clock may have been set back by so much; a cure of a later time was written by a clock that was wrong
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset; `open` is absent when every run was finished."""
    runs = _runs(host)
    facts: dict[str, Any] = {"runs": runs, "cured": _cured(runs)}
    unfinished = next((run for run in runs if run["state"] in OPEN_STATES), None)
    for run in runs:
        controller = run.pop("_controller")
        if run is unfinished:
            facts["open"] = {"id": run["id"], "controller": controller, "started_epoch": run["started_epoch"], "state": run["state"]}
    return facts


def cured(host: Host) -> dict[str, float]:
    """When each issue was last cured on this host; empty where the journals cannot be read, which the subset itself says."""
    try:
        return _cured(_runs(host))
    except HostError:
        return {}


def _runs(host: Host) -> list[dict[str, Any]]:
    """The newest runs, newest first. What is not a run of ours, or not whole, is left out."""
    found: dict[str, dict[str, Any]] = {}
    for place in reversed(PLACES):
        folder = place + "/runs"
        for name in sorted(filter(is_run_id, host.listing(folder)), reverse=True)[:KEPT_RUNS]:
            try:
                run = run_of(host.read("%s/%s/run.json" % (folder, name), MAX_RUN_BYTES))
            except HostDenied:
                raise
            except HostError:  # being made, or being forgotten
                continue
            known = _run(name, run) if run is not None else None
            if known is not None:
                found[name] = known
    return [found[name] for name in sorted(found, reverse=True)[:KEPT_RUNS]]


def _run(name: str, run: dict[str, Any]) -> dict[str, Any] | None:
    started = _epoch(run.get("started_epoch"))
    steps = [_step(step) for step in run["steps"]]
    if run.get("id") != name or run.get("state") not in STATES or started is None or None in steps or len(steps) > MOST_STEPS:
        return None
    result = {"id": name, "started_epoch": started, "state": run["state"], "steps": steps, "_controller": _line(run.get("controller"))}
    finished = _epoch(run.get("finished_epoch"))
    if finished is not None:
        result["finished_epoch"] = finished
    return result


def _step(step: Any) -> dict[str, Any] | None:
    if not isinstance(step, dict) or step.get("state") not in STEP_STATES or not _is_name(step.get("fix")):
        return None
    names: dict[str, list[str]] = {}
    for key in ("issues", "covers"):
        value = step.get(key)
        if not isinstance(value, list) or len(value) > MOST_ISSUES or not all(map(_is_name, value)):
            return None
        names[key] = value
    return {"fix": step["fix"], "state": step["state"], "reason": _line(step.get("reason")), **names}


def _cured(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Only of settled runs: before, nothing is proven, and what was rolled back may be broken again."""
    found: dict[str, float] = {}
    for run in runs:
        finished = run.get("finished_epoch")
        if run["state"] != "settled" or finished is None or finished > time.time() + AHEAD_SECONDS:
            continue
        for step in run["steps"]:
            if step["state"] == "kept" and not step["reason"]:  # a reason: its run was interrupted, and nobody judged it
                for issue in step["covers"]:
                    found[issue] = max(finished, found.get(issue, 0.0))
    return found


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _epoch(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value < 1e11 else None


def _line(value: Any) -> str:
    """A sentence of the journal on one line, without anything that steers a terminal."""
    return " ".join("".join(each if each.isprintable() else " " for each in value[:600]).split())[:300] if isinstance(value, str) else ""
