# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset redis: the three uses that Mastodon makes of Redis (app, sidekiq, cache), each as the app reaches it; asked with INFO only."""

from __future__ import annotations

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import effective_settings
from ansible_collections.fediops.mastodon.plugins.module_utils._redis import ErrorReply, Redis, RedisError, Target, from_url, information
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules

USES = (("app", ""), ("sidekiq", "SIDEKIQ_"), ("cache", "CACHE_"))


def target(settings: dict[str, str], prefix: str) -> Target:
    """Where lib/mastodon/redis_configuration.rb leads: PREFIX_REDIS_URL, else the parts, and without any of them the base connection."""
    url = settings.get(prefix + "REDIS_URL", "")
    if url:
        return from_url(url)
    parts = {name: settings.get("%sREDIS_%s" % (prefix, name)) for name in ("HOST", "PORT", "DB", "PASSWORD", "USER")}
    if prefix and not any(parts.values()):
        return target(settings, "")
    port, number = parts["PORT"] or "6379", parts["DB"] or "0"
    if not port.isdigit() or not number.isdigit():
        raise RedisError("configuration", "%sREDIS_PORT or %sREDIS_DB is not a number" % (prefix, prefix))
    return Target(parts["HOST"] or "localhost", int(port), "", int(number), parts["USER"] or "", parts["PASSWORD"] or "", False)


def sentinel_master(host: Host, settings: dict[str, str], prefix: str) -> Target | None:
    """The master that the Sentinels name, when Sentinels are configured; RedisError when none of them answers."""
    listed = settings.get(prefix + "REDIS_SENTINELS") or settings.get("REDIS_SENTINELS", "")
    if not listed:
        return None
    name = settings.get(prefix + "REDIS_SENTINEL_MASTER") or settings.get("REDIS_SENTINEL_MASTER") or "mymaster"
    password = settings.get(prefix + "REDIS_SENTINEL_PASSWORD") or settings.get("REDIS_SENTINEL_PASSWORD", "")
    default_port = settings.get(prefix + "REDIS_SENTINEL_PORT") or settings.get("REDIS_SENTINEL_PORT") or "26379"
    failure = RedisError("configuration", "REDIS_SENTINELS names no Sentinel")
    for each in listed.replace(",", " ").split()[:5]:
        address, _colon, port = each.partition(":")
        number = port or default_port
        try:
            with Redis(host.connect, Target(address, int(number) if number.isdigit() else 26379, "", 0, "", password, False)) as link:
                answer = link.ask(("SENTINEL", "get-master-addr-by-name", name))[0]
            if isinstance(answer, list) and len(answer) == 2:
                base = target(settings, prefix)
                return base._replace(host=str(answer[0]), port=int(answer[1]))
            failure = RedisError("configuration", "the Sentinel at %s knows no master of the configured name" % address)
        except RedisError as problem:
            failure = problem
    raise failure


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset. Not being reachable is a result (`error`), not a failure of the probe."""
    minimum = rules(tuple(install.get("version", {}).get("number", (0,)))).minimum_redis
    asked: dict[Target, dict[str, Any]] = {}
    uses = {}
    for name, prefix in USES:
        try:
            where = sentinel_master(host, effective_settings(install), prefix) or target(effective_settings(install), prefix)
        except RedisError as problem:
            uses[name] = {"reachable": False, "error": {"kind": problem.kind, "message": str(problem)[:200]}}
            continue
        if where not in asked:
            asked[where] = _ask(host, where, minimum)
        uses[name] = asked[where]
    return {"minimum_version": minimum, "uses": uses}


def _ask(host: Host, where: Target, minimum: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"address": where.label, "reachable": False}
    try:
        with Redis(host.connect, where) as link:
            raw, stops, snapshots = link.ask(("INFO",), ("CONFIG", "GET", "stop-writes-on-bgsave-error"), ("CONFIG", "GET", "save"))
    except RedisError as problem:
        facts["error"] = {"kind": problem.kind, "message": str(problem)[:200]}
        return facts
    if not isinstance(raw, str) or isinstance(raw, ErrorReply):
        facts["error"] = {"kind": "protocol", "message": "INFO is not allowed for this user"}
        return facts
    info = information(raw)
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    policy = info.get("maxmemory_policy", "")
    # Where CONFIG is not allowed (managed Redis) the defaults of the server are assumed: it stops writes when a snapshot fails.
    stops_writes = not (isinstance(stops, list) and len(stops) == 2 and stops[1] == "no")
    saves = not (isinstance(snapshots, list) and len(snapshots) == 2 and not snapshots[1])
    misconf = info.get("rdb_last_bgsave_status") == "err" and stops_writes and saves
    facts.update(
        reachable=True, version=info.get("valkey_version") or info.get("redis_version", ""), role=info.get("role", ""),
        version_supported=_version(info.get("redis_version", "")) >= _version(minimum), loading=info.get("loading") == "1",
        rdb_last_bgsave_status=info.get("rdb_last_bgsave_status", ""), aof_last_write_status=info.get("aof_last_write_status", ""),
        writable=not misconf and info.get("role") == "master" and info.get("aof_last_write_status") != "err"
        and info.get("loading") != "1" and not (policy == "noeviction" and 0 < most <= used),
        maxmemory_bytes=most, maxmemory_policy=policy, used_memory_bytes=used)
    return facts


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
