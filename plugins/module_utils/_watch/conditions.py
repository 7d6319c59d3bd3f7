# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watch looks for, judged from one pass of facts (pure; private, may change any time).

Without Jinja2 on the host the catalogue itself cannot be evaluated there. These few conditions carry the id of the known issue that the
full diagnosis would name, so that an alert leads to it. A condition is `firing`, `clear`, `quiet` (nothing happened that would tell: no
request came) or `unknown` (it could not be looked at); unknown neither raises nor clears.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, NamedTuple, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._watch.forecast import hours_until_full

FIRING, CLEAR, QUIET, UNKNOWN = "firing", "clear", "quiet", "unknown"
SUBSETS = ("services", "disk", "sidekiq", "web", "streaming", "database", "redis", "logs")
# Looked at by their endpoints as well, which is stronger; the unit alone tells where Mastodon itself is on another host.
UNIT_ISSUES = {"sidekiq": ("sidekiq_not_running", "critical"), "proxy": ("proxy_down", "critical")}
UNIT_ISSUES_ALONE = {"database": ("db_connection_refused", "critical"), "redis": ("redis_down", "critical")}
DATABASE_ISSUES = {"auth": "db_auth_failed", "too_many": "db_too_many_connections"}
MOST_REQUEST_IDS = 10
DEFAULTS: Dict[str, float] = {
    "server_errors": 5, "server_errors_percent": 1.0, "failed_posts": 1, "latency_seconds": 300.0, "disk_hours": 24.0, "disk_percent": 95.0,
}  # fmt: skip


class Condition(NamedTuple):
    """One thing watched: key, id of the known issue, severity, state, one line for people, request ids."""

    key: str
    issue: str
    severity: str
    state: str
    text: str
    request_ids: Tuple[str, ...] = ()


def judge(
    facts: Dict[str, Any], history: Dict[str, List[List[float]]], limits: Dict[str, float], open_keys: FrozenSet[str]
) -> List[Condition]:
    """Every condition that this host can have. `open_keys`: those raised before, which end only well below what raised them."""
    limits = dict(DEFAULTS, **limits)
    roles = set(facts.get("install", {}).get("roles", ()))
    found = _requests(facts, roles, limits, open_keys) + _posts(facts, roles, limits, open_keys) + _sidekiq(facts, limits, open_keys)
    found += _units(facts) + _links(facts) + _endpoints(facts) + _disk(facts, history, limits, open_keys) + _blind(facts)
    return found


def seen_issues(facts: Dict[str, Any]) -> Dict[str, int]:
    """Lines of this pass that signatures of the catalogue know, by known issue."""
    counts: Dict[str, int] = {}
    for key, value in facts.get("logs", {}).get("signatures", {}).items():
        issue = key.split(".", 1)[0]
        counts[issue] = counts.get(issue, 0) + int(value["count"])
    return counts


def _reached(value: float, limit: float, is_open: bool) -> bool:
    return value >= (limit / 2 if is_open else limit)


def _requests(facts: Dict[str, Any], roles: Any, limits: Dict[str, float], open_keys: FrozenSet[str]) -> List[Condition]:
    if not roles & {"web", "proxy"}:
        return []
    key, logs = "server_errors", facts.get("logs")
    sources = [] if logs is None else [logs[name] for name in ("requests", "proxy_requests") if name in logs]
    if "web" in roles and logs is not None and "web" not in logs.get("read_origins", ()):
        sources = sources[1:]
    if not sources:
        return [Condition(key, "web_errors_5xx", "error", UNKNOWN, "the logs could not be read")]
    worst = max(sources, key=lambda each: each["server_errors"])
    errors, total = worst["server_errors"], worst["total"]
    if total == 0:
        return [Condition(key, "web_errors_5xx", "error", QUIET, "no request since the last pass")]
    is_open = key in open_keys
    firing = _reached(errors, limits["server_errors"], is_open) and _reached(
        100.0 * errors / total, limits["server_errors_percent"], is_open
    )
    statuses = ", ".join("%s x %d" % (status, count) for status, count in sorted(worst["by_status"].items()) if status >= "500")
    text = "%d of %d requests were answered 5xx since the last pass%s" % (errors, total, " (%s)" % statuses if statuses else "")
    return [Condition(key, "web_errors_5xx", "error", FIRING if firing else CLEAR, text, _request_ids(facts))]


def _posts(facts: Dict[str, Any], roles: Any, limits: Dict[str, float], open_keys: FrozenSet[str]) -> List[Condition]:
    if "web" not in roles:
        return []
    key, logs = "failed_posts", facts.get("logs")
    if logs is None or "web" not in logs.get("read_origins", ()):
        return [Condition(key, "web_errors_5xx", "error", UNKNOWN, "the logs could not be read")]
    posts = logs["posts"]
    if posts["total"] == 0:
        return [Condition(key, "web_errors_5xx", "error", QUIET, "no post since the last pass")]
    # Who could post after the last failure shows that it is over.
    over = posts.get("last_ok_epoch", 0.0) > posts.get("last_failed_epoch", 0.0)
    firing = not over and posts["failed"] >= (1 if key in open_keys else limits["failed_posts"])
    text = "%d of %d posts failed since the last pass" % (posts["failed"], posts["total"])
    return [Condition(key, "web_errors_5xx", "error", FIRING if firing else CLEAR, text, _request_ids(facts))]


def _request_ids(facts: Dict[str, Any]) -> Tuple[str, ...]:
    ids = [str(each) for group in facts.get("logs", {}).get("exceptions", ()) for each in group.get("request_ids", ())]
    return tuple(dict.fromkeys(ids))[:MOST_REQUEST_IDS]


def _sidekiq(facts: Dict[str, Any], limits: Dict[str, float], open_keys: FrozenSet[str]) -> List[Condition]:
    if "sidekiq" not in facts.get("probes", {}) or not set(facts.get("install", {}).get("roles", ())) & {"web", "sidekiq"}:
        return []
    keys = (("sidekiq_backlog", "warning"), ("sidekiq_queue_missing", "error"))
    sidekiq = facts.get("sidekiq")
    if sidekiq is None or "error" in sidekiq:
        return [Condition(key, key, severity, UNKNOWN, "Sidekiq's Redis did not tell") for key, severity in keys]
    is_open = "sidekiq_backlog" in open_keys
    # The queue pull holds imports and old threads, which may wait (so does the catalogue).
    late = [
        each
        for each in sidekiq["queues"]
        if each["consumed"]
        and _reached(each["latency_seconds"], limits["latency_seconds"] * (12 if each["name"] == "pull" else 1), is_open)
    ]
    worst = max(
        late or sidekiq["queues"] or [{"name": "default", "latency_seconds": 0.0, "size": 0}], key=lambda each: each["latency_seconds"]
    )
    text = "the oldest job of queue %s waits for %d s (%d jobs)" % (worst["name"], worst["latency_seconds"], worst["size"])
    missing = sidekiq["unconsumed_queues"] if sidekiq["processes"] else []
    return [
        Condition("sidekiq_backlog", "sidekiq_backlog", "warning", FIRING if late else CLEAR, text),
        Condition(
            "sidekiq_queue_missing",
            "sidekiq_queue_missing",
            "error",
            FIRING if missing else CLEAR,
            "nobody takes jobs from %s" % ", ".join(missing) if missing else "every queue has a worker",
        ),
    ]


def _units(facts: Dict[str, Any]) -> List[Condition]:
    services = facts.get("services")
    if services is None:
        return []
    alone = {} if facts.get("install", {}).get("found") else UNIT_ISSUES_ALONE
    conditions = []
    for role, (issue, severity) in {**UNIT_ISSUES, **alone}.items():
        units = [unit for unit in services["units"] if unit["role"] == role and unit["intended"] and not unit["shim"]]
        down = [unit for unit in units if unit["active_state"] != "active"]
        if units:
            text = ", ".join("%s is %s (%s)" % (unit["name"], unit["active_state"], unit["result"]) for unit in down[:5])
            conditions.append(Condition("unit_" + role, issue, severity, FIRING if down else CLEAR, text or "%s runs" % role))
    return conditions


def _links(facts: Dict[str, Any]) -> List[Condition]:
    """Database and Redis as the application reaches them."""
    conditions = []
    database = facts.get("database")
    if database is not None and "reachable" in database:
        kind = database.get("error", {}).get("kind", "")
        issue = DATABASE_ISSUES.get(kind, "db_connection_refused")
        text = "PostgreSQL at %s: %s" % (database.get("address", "the configured address"), kind or "reachable")
        conditions.append(Condition("database", issue, "critical", CLEAR if database["reachable"] else FIRING, text))
    redis = facts.get("redis")
    if redis is not None and redis.get("uses"):
        down = {name: use for name, use in redis["uses"].items() if not use["reachable"]}
        read_only = [name for name, use in redis["uses"].items() if use["reachable"] and use.get("writable") is False]
        kinds = {use.get("error", {}).get("kind", "") for use in down.values()}
        issue = "redis_auth_failed" if kinds == {"auth"} else "redis_down" if down or not read_only else "redis_misconf_disk"
        text = "; ".join("Redis for %s: %s" % (name, use.get("error", {}).get("kind", "unreachable")) for name, use in sorted(down.items()))
        text = text or ("Redis refuses writes for %s" % ", ".join(read_only) if read_only else "Redis is reachable")
        conditions.append(Condition("redis", issue, "critical", FIRING if down or read_only else CLEAR, text))
    return conditions


def _endpoints(facts: Dict[str, Any]) -> List[Condition]:
    conditions = []
    for role, issue, severity in (("web", "web_down_502", "critical"), ("streaming", "streaming_down", "error")):
        endpoints = facts.get(role, {}).get("endpoints")
        if endpoints:
            ill = [each for each in endpoints if not each["healthy"] and not each.get("booting")]
            text = ", ".join(
                "%s: %s" % (each["address"], each.get("error", {}).get("kind") or "HTTP %s" % each.get("status")) for each in ill
            )
            conditions.append(Condition("endpoint_" + role, issue, severity, FIRING if ill else CLEAR, text or "%s answers" % role))
    return conditions


def _disk(
    facts: Dict[str, Any], history: Dict[str, List[List[float]]], limits: Dict[str, float], open_keys: FrozenSet[str]
) -> List[Condition]:
    disk = facts.get("disk")
    if disk is None:
        return [Condition("disk_full", "disk_full", "critical", UNKNOWN, "the filesystems could not be measured")]
    full, soon = [], []
    is_open = "disk_forecast" in open_keys
    for each in disk["filesystems"]:
        if each["read_only"]:
            continue
        if each["exhausted"]:
            full.append(
                "%s has %d MB free, %.0f %% of its inodes used"
                % (each["mount"], each["available_bytes"] >> 20, each["inodes_used_percent"])
            )
            continue
        hours = hours_until_full(history.get(each["mount"], ()), each["size_bytes"])
        if hours is not None and hours < limits["disk_hours"] * (2 if is_open else 1):
            soon.append("%s will be full in %.0f hours" % (each["mount"], hours))
        elif max(each["used_percent"], each["inodes_used_percent"]) >= limits["disk_percent"] - (2 if is_open else 0):
            soon.append("%s is %.0f %% full (inodes %.0f %%)" % (each["mount"], each["used_percent"], each["inodes_used_percent"]))
    return [
        Condition("disk_full", "disk_full", "critical", FIRING if full else CLEAR, "; ".join(full) or "there is room"),
        # A full one needs no forecast, and does not end it either.
        Condition(
            "disk_forecast", "disk_full", "warning", FIRING if soon else QUIET if full else CLEAR, "; ".join(soon) or "there is room"
        ),
    ]


def _blind(facts: Dict[str, Any]) -> List[Condition]:
    """What was asked for and could not be looked at: said once it lasts, because unknown is not fine."""
    if facts.get("install", {}).get("deployment") == "docker" and "compose" not in facts["install"]:
        return []
    blind = {
        name: probe
        for name, probe in facts.get("probes", {}).items()
        if name in SUBSETS + ("install",) and probe["state"] in ("failed", "timeout", "denied")
    }
    text = "; ".join("%s: %s" % (name, probe.get("reason", probe["state"])) for name, probe in sorted(blind.items()))
    return [Condition("watch_blind", "watch_blind", "warning", FIRING if blind else CLEAR, text[:600] or "everything could be looked at")]
