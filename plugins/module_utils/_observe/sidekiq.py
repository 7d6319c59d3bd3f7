# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset sidekiq: live processes, queues and their latency, retries; read from Redis, where Sidekiq itself keeps them.

Keys and their forms by Sidekiq version: fact sheet, "Redis keys (Sidekiq)" (sidekiq 6.2 to 8.1, lib/sidekiq/api.rb).
"""

from __future__ import annotations

import json
import re
import time

from collections import Counter
from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import effective_settings
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.messages import harmless
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.redis_target import resolve
from ansible_collections.fediops.mastodon.plugins.module_utils._redis import ErrorReply, Redis, RedisError
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules

if TYPE_CHECKING:
    from collections.abc import Sequence

# A heartbeat comes every 5 s (Sidekiq 6) or 10 s (7 and newer) and its key expires after 60 s: that it is there proves life, by the
# clock of Redis alone. The time written in it is by the clock of the machine that Sidekiq runs on.
MAX_PROCESSES = 200
MAX_QUEUES = 100
MAX_RUNNING = 500
MAX_WORK_BYTES = 100000
WORK_TABLES = (":work", ":workers")  # since Sidekiq 6.5, and before


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset. A Redis that cannot be reached is a result (`error` and nothing else), not a failure of the probe."""
    environment = effective_settings(install)
    number = tuple(install.get("version", {}).get("number", (99,)))
    space = environment.get("REDIS_NAMESPACE", "") if number < (4, 4) else ""
    prefix = space + ":" if space else ""
    expected = list(rules(number).queues)
    try:
        with Redis(host.connect, resolve(host, install, "SIDEKIQ_"), host.left(30.0)) as link:
            identities, names, retry, dead, scheduled, failing = _answers(link, [
                ("SMEMBERS", prefix + "processes"), ("SMEMBERS", prefix + "queues"), ("ZCARD", prefix + "retry"),
                ("ZCARD", prefix + "dead"), ("ZCARD", prefix + "schedule"), ("ZRANGE", prefix + "retry", "0", "19")])
            identities = sorted(_texts(identities))[:MAX_PROCESSES]
            queues = sorted(set(_texts(names)) | set(expected))[:MAX_QUEUES]
            heartbeats = _answers(link, [("HMGET", prefix + each, "info", "busy", "beat", "quiet") for each in identities])
            started = _started(link, [prefix + each for each in identities])
            depths = _answers(link, [command for name in queues for command in (
                ("LLEN", prefix + "queue:" + name), ("LINDEX", prefix + "queue:" + name, "-1"))])
    except RedisError as problem:
        return {"error": {"kind": problem.kind, "message": harmless(str(problem), install)}}
    now = time.time()
    live = [each for each in (_process(identity, beat, now) for identity, beat in zip(identities, heartbeats)) if each]
    taken = {name for each in live for name in each["queues"] if not each["quiet"]}
    facts_of_queues = [_queue(name, depths[2 * at], depths[2 * at + 1], now, taken) for at, name in enumerate(queues)]
    ages = sorted(max(0.0, round(now - each, 1)) for each in started)
    return {
        **({"running": {"jobs": len(ages), "newest_seconds": ages[0], "oldest_seconds": ages[-1]}} if ages else {}),
        "processes": live, "stale_processes": len(identities) - len(live),
        "threads": sum(each["concurrency"] for each in live), "busy": sum(each["busy"] for each in live),
        "expected_queues": expected, "unconsumed_queues": [name for name in expected if name not in taken],
        "queues": [each for each in facts_of_queues if each["size"] or each["name"] in expected],
        "schedulers": sum(1 for each in live if "scheduler" in each["queues"] and not each["quiet"]),
        "retry_size": _number(retry), "dead_size": _number(dead), "scheduled_size": _number(scheduled),
        "retry_errors": _errors(failing),
    }


def _started(link: Redis, identities: list[str]) -> list[float]:
    """When the jobs that run now were begun, by the clock of Sidekiq's machine, from what the processes tell of their threads.

    A Redis that does not tell (NOPERM) leaves out those: all else of the subset does not need them.
    """
    tables = [each + suffix for each in identities for suffix in WORK_TABLES]
    found: list[float] = []
    names = link.ask(*[("HKEYS", table) for table in tables]) if tables else []
    threads = [(table, name) for table, each in zip(tables, names) for name in _all(each)][:MAX_RUNNING]
    sizes = link.ask(*[("HSTRLEN", table, name) for table, name in threads]) if threads else []
    small = [thread for thread, size in zip(threads, sizes) if 0 < _number(size) <= MAX_WORK_BYTES]
    for value in link.ask(*[("HGET", table, name) for table, name in small]) if small else []:
        # Last in the value; what comes before are the arguments of the job, a stranger's text.
        stamp = re.search(r'"run_at":\s*(\d{9,16}(?:\.\d{1,9})?)\s*\}$', value[-60:]) if isinstance(value, str) else None
        if stamp:
            found.append(_epoch(stamp.group(1)))
    return found


def _epoch(text: str) -> float:
    """Seconds, in milliseconds since Sidekiq 8."""
    epoch = float(text)
    return epoch / 1000 if epoch > 1e11 else epoch


def _answers(link: Redis, commands: list[Sequence[str]]) -> list[Any]:
    """The replies; HostError for the first that is an error: what Redis would not tell is unknown, not empty."""
    replies = link.ask(*commands) if commands else []
    for command, reply in zip(commands, replies):
        if isinstance(reply, ErrorReply):
            raise HostError("the Redis of Sidekiq answered %s with %s" % (command[0], reply.code))
    return replies


def _texts(reply: Any) -> list[str]:
    return [str(each)[:200] for each in reply] if isinstance(reply, list) else []


def _number(reply: Any) -> int:
    return reply if isinstance(reply, int) else 0


def _process(identity: str, beat: Any, now: float) -> dict[str, Any] | None:
    if not isinstance(beat, list) or len(beat) != 4 or beat[0] is None:
        return None
    try:
        info = json.loads(beat[0])
        capsules = info.get("capsules") or {}
        queues = info.get("queues") or [name for each in capsules.values() for name in each.get("weights", {})]
        threads = info.get("concurrency") or sum(int(each.get("concurrency", 0)) for each in capsules.values())
        return {"identity": identity, "hostname": str(info.get("hostname", ""))[:100], "pid": int(info.get("pid", 0)),
                "concurrency": int(threads), "busy": int(beat[1] or 0), "quiet": beat[3] == "true",
                "beat_age_seconds": round(max(0.0, now - float(beat[2] or 0)), 1), "version": str(info.get("version", ""))[:20],
                "queues": sorted({str(name)[:64] for name in queues})}
    except (ValueError, TypeError, AttributeError):
        return None


def _queue(name: str, size: Any, oldest: Any, now: float, taken: set[str]) -> dict[str, Any]:
    latency = 0.0
    if isinstance(oldest, str):
        # A regular expression, not a JSON parse: the arguments of a job can be megabytes of a stranger's text.
        stamp = re.search(r'"enqueued_at":\s*([\d.]+)', oldest[-2000:]) or re.search(r'"enqueued_at":\s*([\d.]+)', oldest[:100000])
        if stamp:
            latency = max(0.0, now - _epoch(stamp.group(1)))
    return {"name": name, "size": _number(size), "latency_seconds": round(latency, 1), "consumed": name in taken}


def _errors(members: Any) -> list[dict[str, Any]]:
    classes: Counter[str] = Counter()
    for member in _all(members):
        found = re.search(r'"error_class":\s*"([\w:]{1,100})"', member)
        if found:
            classes[found.group(1)] += 1
    return [{"class": name, "count": count} for name, count in classes.most_common(5)]


def _all(members: Any) -> list[str]:
    return [each for each in members if isinstance(each, str)] if isinstance(members, list) else []
