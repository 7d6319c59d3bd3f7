# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads, workers and database pools fitted to memory and max_connections, by drop-in (sums: `_change/capacity.py`).

Never in .env.production: config/puma.rb and config/sidekiq.yml are read before it, and the units set DB_POOL themselves.

db_pool_exhausted         a pool smaller than its threads becomes as large, or the threads as few where there is no room for connections
db_too_many_connections   threads (and pools) of this host shrink until the pools fit, Sidekiq first: its jobs wait, visitors do not
oom_kill                  what was killed, else what uses most, gets half the threads (Sidekiq) or a worker less (Puma); at the kill the
                          process held all there was, and what a thread's share of it was nobody knows: the diagnosis after it judges
sidekiq_backlog           more threads for a Sidekiq that takes the queue that lags, at most twice as many and 50 a process

Never fewer than one worker and five threads (the defaults of config/puma.rb and config/sidekiq.yml). Options: `units` (comma list, for
oom_kill what was killed), `max_connections`, `issue` when the step was not planned for one.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import capacity, drop_in, exec_start, unit_environment
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _tune_containers
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._database_limits import limits
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import services

TOPIC = "puma"
LEAST_THREADS = 5
MOST_THREADS = 50  # beyond it a Ruby process only gains waiting (Sidekiq's wiki, Advanced Options: Concurrency)
STEP = 5


def fix(change: Change) -> None:
    issues = change.issues or [str(change.options.get("issue") or "")]
    if "compose" in change.install:
        if "db_pool_exhausted" not in issues:
            raise Refused("how many threads there are stands in the compose file (the command of Sidekiq) and in MAX_THREADS, "
                          "WEB_CONCURRENCY: change it there, then docker compose up -d")
        _tune_containers.raise_pools(change, _apps(change))
        return
    known = False
    for issue, function in (("db_too_many_connections", _too_many), ("db_pool_exhausted", _short_pools), ("oom_kill", _out_of_memory),
                            ("sidekiq_backlog", _backlog)):
        if issue in issues:
            known = True
            function(change)
    if not known:
        raise Refused("for which issue threads are to be changed is not said; set the option issue to db_pool_exhausted, "
                      "db_too_many_connections, oom_kill or sidekiq_backlog")


def _apps(change: Change, *roles: str) -> list[dict[str, Any]]:
    """Units with what the facts measured of them."""
    measured = {unit["name"]: unit for unit in change.facts.get("services", {}).get("units", [])}
    return [dict(measured.get(unit["name"], {}), **unit) for unit in change.units(*(roles or ("web", "sidekiq", "streaming")))
            if unit["intended"]]


def _room(change: Change) -> capacity.Connections:
    if change.facts.get("database", {}).get("pooler"):
        raise Refused("Mastodon reaches PostgreSQL through a pooler, whose own limits count: adjust default_pool_size, max_client_conn")
    return capacity.connections(_apps(change), change.install.get("_dotenv", {}), limits(change))


# -- one way of writing, whichever the role ------------------------------------------------------------------------------


def _set_sidekiq(change: Change, unit: dict[str, Any], threads: int, pool: int) -> None:
    unit_environment.refuse_when_hopeless(change, unit, exec_start.TOPIC, {"DB_POOL": str(pool)})
    exec_start.write(change, unit, exec_start.with_threads(exec_start.command_of(change, unit["name"]), threads), pool)


def _set_puma(change: Change, unit: dict[str, Any], wanted: dict[str, int]) -> None:
    if any(word in unit["_argv"] for word in ("-t", "--threads", "-w", "--workers")):
        raise Refused("ExecStart of %s gives Puma its threads or workers itself: change them there" % unit["name"])
    threads = wanted.get("MAX_THREADS", unit["concurrency"])
    least = unit["_env"].get("MIN_THREADS", "")
    if least.isdigit() and int(least) > threads:
        wanted = dict(wanted, MIN_THREADS=threads)  # Puma does not start with a minimum above the maximum
    texts = {key: str(value) for key, value in wanted.items()}
    unit_environment.refuse_when_hopeless(change, unit, TOPIC, texts)
    if drop_in.write(change, unit["name"], TOPIC, unit_environment.lines(change, unit["name"], TOPIC, texts)):
        change.restart(unit["name"])


# -- by issue ------------------------------------------------------------------------------------------------------------


def _short_pools(change: Change) -> None:
    short = [unit for unit in _apps(change, "web", "sidekiq") if unit.get("pool_short")]
    if not short:
        raise Refused("every pool has a connection for each of its threads; look for slow or blocked queries in pg_stat_activity")
    pooler = bool(change.facts.get("database", {}).get("pooler"))
    room = None if pooler else _room(change)
    more = sum((unit["concurrency"] - unit["db_pool"]) * (max(1, unit.get("workers", 1)) if unit["role"] == "web" else 1) for unit in short)
    raise_pools = room is None or room.need + more <= room.room
    for unit in short:
        if not raise_pools and unit["db_pool"] < LEAST_THREADS and room is not None:
            raise Refused("%s has %d threads and a pool of %d, and there is no room for larger pools: %s" % (
                unit["name"], unit["concurrency"], unit["db_pool"], room.told()))
    for unit in short:
        threads = unit["concurrency"] if raise_pools else unit["db_pool"]
        if unit["role"] == "web":
            _set_puma(change, unit, {"DB_POOL": threads} if raise_pools else {"MAX_THREADS": threads})
        else:
            _set_sidekiq(change, unit, threads, threads)


def _too_many(change: Change) -> None:
    room = _room(change)
    if room.need <= room.room:
        raise Refused("others hold the connections, not Mastodon: %s; see who in pg_stat_activity" % room.told())
    missing = room.need - room.room
    plan: list[tuple[dict[str, Any], int, int]] = []  # unit, threads, workers
    for unit in sorted(_apps(change, "sidekiq"), key=lambda each: -each.get("db_pool", 0)):
        if "concurrency" in unit and missing > 0:
            threads = max(LEAST_THREADS, min(unit["concurrency"], unit["db_pool"] - missing))
            missing -= unit["db_pool"] - min(threads, unit["db_pool"])
            plan.append((unit, threads, 0))
    for unit in _apps(change, "web"):
        threads, workers = min(unit["concurrency"], unit["db_pool"]), max(1, unit["workers"])
        before = unit["db_pool"] * workers
        while missing > 0 and (threads > LEAST_THREADS or workers > 1):
            # Threads first: a worker is a core.
            threads, workers = (threads - 1, workers) if threads > LEAST_THREADS else (threads, workers - 1)
            missing -= before - threads * workers
            before = threads * workers
        plan.append((unit, threads, workers))
    if missing > 0:
        raise Refused("with one Puma worker and %d threads each the pools would still need %d connections too many: %s; raise "
                      "max_connections or put PgBouncer in between" % (LEAST_THREADS, missing, room.told()))
    for unit, threads, workers in plan:
        if unit["role"] == "web":
            if threads * workers < unit["db_pool"] * max(1, unit["workers"]):
                _set_puma(change, unit, {"WEB_CONCURRENCY": min(workers, unit["workers"]), "MAX_THREADS": threads, "DB_POOL": threads})
        else:
            _set_sidekiq(change, unit, threads, threads)


def _out_of_memory(change: Change) -> None:
    apps = _apps(change, "web", "sidekiq")
    named = {word.strip() for word in str(change.options.get("units") or "").split(",")}
    killed = [unit for unit in apps if unit["name"] in named or unit.get("oom_kills")]
    candidates = killed or sorted(apps, key=lambda unit: -int(unit.get("memory_bytes") or 0))
    for unit in candidates:
        if unit["role"] == "sidekiq" and unit.get("concurrency", 0) > LEAST_THREADS:
            threads = max(LEAST_THREADS, unit["concurrency"] // 2)
            _set_sidekiq(change, unit, threads, threads)
        elif unit["role"] == "web" and unit["workers"] > 1:
            _set_puma(change, unit, {"WEB_CONCURRENCY": unit["workers"] - 1})
        elif unit["role"] == "web" and unit["concurrency"] > LEAST_THREADS:
            threads = max(LEAST_THREADS, unit["concurrency"] // 2)
            _set_puma(change, unit, {"MAX_THREADS": threads})
        else:
            continue
        if not killed:
            return  # nobody was named: one step down for the biggest
    if not change.step["changes"]:
        raise Refused("%s cannot do with less than one worker and %d threads: give this host memory or swap%s" % (
            " and ".join(unit["name"] for unit in candidates) or "Mastodon", LEAST_THREADS,
            ", or raise MemoryMax of the unit" if any(unit.get("memory_max_bytes") for unit in candidates) else ""))


def _backlog(change: Change) -> None:
    told = change.facts.get("sidekiq", {})
    if "threads" not in told:
        raise Refused("Redis did not tell what Sidekiq is doing")
    if told["busy"] < 0.9 * told["threads"]:
        raise Refused("only %d of %d threads are busy, so more of them would not help; see which jobs fail or wait" % (
            told["busy"], told["threads"]))
    lagging = {queue["name"] for queue in told["queues"] if queue["size"]}
    able = [unit for unit in _apps(change, "sidekiq") if unit.get("concurrency") and (not unit["queues"] or lagging & set(unit["queues"]))]
    if not able:
        raise Refused("no Sidekiq unit of this host takes the queues that lag (%s)" % ", ".join(sorted(lagging)))
    unit = min(able, key=lambda each: int(each["concurrency"]))
    room = _room(change)
    now, connections_left = unit["concurrency"], room.room - room.need
    # A pool that is larger than the threads has room of its own.
    by_connections = max(0, connections_left) + max(0, unit["db_pool"] - now)
    by_memory = capacity.threads_memory_allows(unit, change.facts["memory"])
    more = min(now, MOST_THREADS - now, by_connections, by_memory) // STEP * STEP
    if more < STEP:
        raise Refused("%s cannot have %d threads more than its %d (at most %d a process): there is room for %d by connections and %d by "
                      "memory; %s" % (unit["name"], STEP, now, MOST_THREADS, by_connections, by_memory, room.told()))
    _set_sidekiq(change, unit, now + more, max(unit["db_pool"], now + more))


def check(change: Change) -> str:
    """Whether systemd runs what the drop-ins say."""
    names = change.step["services"].get("restart", [])
    for unit in services.discover(change.host):
        if unit["name"] not in names:
            continue
        for topic in (TOPIC, exec_start.TOPIC):
            for line in drop_in.lines_of(change, unit["name"], topic):
                key, _equals, value = line.partition("=")[2].partition("=")
                if line.startswith("Environment=") and unit["_env"].get(key) != value:
                    return "%s=%s is not in effect for %s" % (key, value, unit["name"])
        if unit["active_state"] != "active":
            return "%s is %s; journalctl -u %s says why" % (unit["name"], unit["active_state"], unit["name"])
    return ""
