# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of the watch (private, may change any time).

`observe` looks, in a sandbox, and writes down what is to be told; `deliver` tells it, outside of the sandbox, because a mailer or a command
of the administrator needs to write. `deliver` also runs when `observe` failed or was killed, and says so: the watch watches itself.
`schedule` runs the full diagnosis where Ansible is.
"""

from __future__ import annotations

import os
import platform
import sys
import time

from typing import Any, Dict, FrozenSet, List, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import survey
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.disk import FULL_BYTES, FULL_INODES, mount_table
from ansible_collections.fediops.mastodon.plugins.module_utils._watch import metrics, schedule, store
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.conditions import (
    CLEAR,
    FIRING,
    SUBSETS,
    Condition,
    judge,
    seen_issues,
)
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.episodes import open_keys, step
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.forecast import remember
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.outbox import deliver_all, put

GATHER_SECONDS = 15.0
LONGEST_WINDOW_SECONDS = 900.0


def main(arguments: List[str]) -> int:
    """Exit code 0, or 1 after one sentence on standard error."""
    modes = {"observe": observe, "deliver": deliver, "schedule": schedule.run}
    if len(arguments) != 1 or arguments[0] not in modes:
        sys.stderr.write("%s\n" % ("usage: %s" % " | ".join(modes)))
        return 2
    try:
        return modes[arguments[0]]()
    except (HostError, Refused) as problem:
        sys.stderr.write("%s\n" % (str(problem)))
    except Exception as problem:  # the message may quote what was read
        trace = problem.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "%s:%d" % (os.path.basename(trace.tb_frame.f_code.co_filename), trace.tb_lineno) if trace is not None else "?"
        sys.stderr.write("%s\n" % ("internal error %s at %s; please report it" % (type(problem).__name__, where)))
    return 1


def observe() -> int:
    """One pass. Before anything new is believed it is looked at a second time, so that a restart raises nothing."""
    started = time.monotonic()
    settings = dict(store.settings(), **store.catalogue())
    state = store.load()
    now = time.time()
    since = min(max(now - float(state.get("until_epoch", now - 300)), 1.0), LONGEST_WINDOW_SECONDS)
    begin = now - since
    facts, conditions = _look(settings, state, begin)
    known = open_keys(state)
    doubtful = {each.key for each in conditions if each.state == FIRING and each.key not in known}
    if doubtful:
        time.sleep(float(settings["confirm_seconds"]))
        facts, again = _look(settings, state, begin)
        # What only the second look shows is the next pass's to believe.
        conditions = [
            each if each.key in known or each.state != FIRING or each.key in doubtful else each._replace(state="unknown") for each in again
        ]
    _add_up(state, facts)
    state["until_epoch"] = facts.get("logs", {}).get("until_epoch", now)
    notices = step(state, conditions, time.time(), settings["explains"], int(settings["clear_passes"]))
    seen = sorted(seen_issues(facts).items(), key=lambda each: -each[1])
    for notice in notices:
        if notice["event"] == "alert" and seen:
            notice["text"].append("log lines of known issues: " + ", ".join("%s x %d" % each for each in seen[:8]))
    put(state, notices, platform.node(), settings)
    store.save(state)
    if settings.get("textfile_directory"):
        metrics.write(settings["textfile_directory"], metrics.watched(facts, conditions, state, time.monotonic() - started).text())
    firing = [each.key for each in conditions if each.state == FIRING]
    sys.stdout.write("%d conditions looked at in %.1f s; firing: %s\n" % (
        len(conditions), time.monotonic() - started, ", ".join(firing) or "none"))
    return 0


def deliver() -> int:
    """Tell what is waiting to be told. `SERVICE_RESULT` is systemd's word on how `observe` ended."""
    settings = store.settings()
    state = store.load()
    result = os.environ.get("SERVICE_RESULT", "success")
    failed = result != "success"
    text = "the watch itself failed (%s %s); see journalctl -u fediops-mastodon-watch" % (result, os.environ.get("EXIT_STATUS", ""))
    condition = Condition("watch_failed", "watch_failed", "error", FIRING if failed else CLEAR, text if failed else "the watch works")
    put(state, step(state.setdefault("self", {}), [condition], time.time(), {}, 1), platform.node(), settings)
    problems = deliver_all(state, settings, store.secrets())
    store.save(state)
    for problem in problems:
        sys.stderr.write("%s\n" % (problem))
    return 1 if problems else 0


def _look(settings: Dict[str, Any], state: Dict[str, Any], begin: float) -> Tuple[Dict[str, Any], List[Condition]]:
    facts = survey(list(SUBSETS), GATHER_SECONDS, time.time() - begin, settings.get("root", ""), settings["signatures"])[0]
    _as_the_host_sees_it(facts)
    free = {each["mount"]: float(each["available_bytes"]) for each in facts.get("disk", {}).get("filesystems", ()) if not each["read_only"]}
    if free:
        state["disk"] = remember(state.get("disk", {}), free, facts["time_epoch"])
    known: FrozenSet[str] = open_keys(state)
    return facts, judge(facts, state.get("disk", {}), settings["limits"], known)


def _as_the_host_sees_it(facts: Dict[str, Any]) -> None:
    """In the sandbox every filesystem is read-only; what the first process sees counts."""
    table = {
        mount: read_only for mount, _kind, read_only in mount_table(Host(time.monotonic() + 5).maybe("/proc/1/mountinfo", 4 << 20) or "")
    }
    for each in facts.get("disk", {}).get("filesystems", ()):
        each["read_only"] = table.get(each["mount"], each["read_only"])
        if not each["read_only"]:
            each["full"] = each["size_bytes"] > 0 and each["used_percent"] >= 95 and each["available_bytes"] < FULL_BYTES
            each["inodes_full"] = each["inodes"] > 0 and each["inodes_used_percent"] >= 99 and each["inodes_available"] < FULL_INODES
            each["exhausted"] = each["full"] or each["inodes_full"]


def _add_up(state: Dict[str, Any], facts: Dict[str, Any]) -> None:
    """Counters for Prometheus, over all passes."""
    totals = state.setdefault("totals", {})
    logs = facts.get("logs", {})
    for key in ("requests", "proxy_requests"):
        for status, count in logs.get(key, {}).get("by_status", {}).items():
            each = totals.setdefault(key, {})
            each[status] = each.get(status, 0) + count
    posts = logs.get("posts", {})
    totals["posts"] = totals.get("posts", 0) + posts.get("total", 0)
    totals["posts_failed"] = totals.get("posts_failed", 0) + posts.get("failed", 0)
    lines = totals.setdefault("lines", {})
    for issue, count in seen_issues(facts).items():
        lines[issue] = lines.get(issue, 0) + count
