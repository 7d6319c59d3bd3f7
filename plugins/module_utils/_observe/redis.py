# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset redis: the three uses that Mastodon makes of Redis (app, sidekiq, cache), each as the app reaches it; asked with INFO only."""

from __future__ import annotations

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.messages import harmless
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.redis_target import USES, resolve
from ansible_collections.fediops.mastodon.plugins.module_utils._redis import ErrorReply, Redis, RedisError, Target, information
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset. Not being reachable is a result (`error`), not a failure of the probe."""
    minimum = rules(tuple(install.get("version", {}).get("number", (0,)))).minimum_redis
    asked: dict[Target, dict[str, Any]] = {}
    uses = {}
    for name, prefix in USES:
        try:
            where = resolve(host, install, prefix)
        except RedisError as problem:
            uses[name] = {"reachable": False, "error": {"kind": problem.kind, "message": harmless(str(problem), install)}}
            continue
        if where not in asked:
            asked[where] = _ask(host, where, minimum, install)
        uses[name] = asked[where]
    return {"minimum_version": minimum, "uses": uses}


def _ask(host: Host, where: Target, minimum: str, install: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"address": where.label, "reachable": False}
    try:
        with Redis(host.connect, where, host.left(30.0)) as link:
            raw, stops, snapshots = link.ask(("INFO",), ("CONFIG", "GET", "stop-writes-on-bgsave-error"), ("CONFIG", "GET", "save"))
    except RedisError as problem:
        facts["error"] = {"kind": problem.kind, "message": harmless(str(problem), install, where.password)}
        return facts
    if not isinstance(raw, str) or isinstance(raw, ErrorReply):
        code = raw.code if isinstance(raw, ErrorReply) else "no text"
        facts["error"] = {"kind": "auth" if code in ("NOPERM", "NOAUTH") else "protocol", "message": "Redis answered INFO with %s" % code}
        return facts
    info = information(raw)
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    policy = info.get("maxmemory_policy", "")
    # Where CONFIG is not allowed (managed Redis) the defaults of the server are assumed: it stops writes when a snapshot fails.
    stops_writes = not (isinstance(stops, list) and len(stops) == 2 and stops[1] == "no")
    saves = not (isinstance(snapshots, list) and len(snapshots) == 2 and not snapshots[1])
    misconf = info.get("rdb_last_bgsave_status") == "err" and stops_writes and saves
    facts.update(
        reachable=True, run_id=info.get("run_id", "")[:40],
        version=info.get("valkey_version") or info.get("redis_version", ""), role=info.get("role", ""),
        version_supported=_version(info.get("redis_version", "")) >= _version(minimum), loading=info.get("loading") == "1",
        rdb_last_bgsave_status=info.get("rdb_last_bgsave_status", ""), aof_last_write_status=info.get("aof_last_write_status", ""),
        writable=not misconf and info.get("role") == "master" and info.get("aof_last_write_status") != "err"
        and info.get("loading") != "1" and not (policy == "noeviction" and 0 < most <= used),
        maxmemory_bytes=most, maxmemory_policy=policy, used_memory_bytes=used)
    return facts


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
