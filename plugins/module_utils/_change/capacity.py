# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many database connections and how much memory there is room for (pure sums; private, may change any time).

Connections: every process opens at most its pool, so this host can hold
    need = sum(web: workers x pool) + sum(Sidekiq: pool) + sum(streaming: DB_POOL or 10)
(config/database.yml, config/puma.rb, streaming/index.js; docs.joinmastodon.org/admin/scaling). What others hold (another host, another
program) is
    others = max(0, used - need)
since whatever is beyond our pools cannot be ours. tootctl opens --concurrency + 1 (5 + 1) more. So for our pools there are
    room = max_connections - reserved - others - 6.

Memory: nothing documented says what a thread costs, so it is measured here: the memory of the unit now, divided by its threads. That is too
much for one more thread, because code is shared by all of them, and so errs on the safe side. A tenth of the RAM is left to the page cache,
which PostgreSQL lives on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SPARE_CONNECTIONS = 6
STREAMING_POOL = 10
RAM_LEFT_SHARE = 0.1


class Connections(NamedTuple):
    """`need` of our pools, `room` for them, and what the room was made of."""

    need: int
    room: int
    most: int
    reserved: int
    others: int

    def told(self) -> str:
        return ("the pools of this host need %d connections; of max_connections %d, %d are reserved, %d held by others, %d kept for "
                "commands" % (self.need, self.most, self.reserved, self.others, SPARE_CONNECTIONS))


def pool_of(unit: dict[str, Any], dotenv: dict[str, str]) -> int:
    """Connections that a unit may open, all its processes together."""
    if unit["role"] == "streaming":
        told = unit["_env"].get("DB_POOL") or dotenv.get("DB_POOL", "")
        return int(told) if told.isdigit() else STREAMING_POOL
    return int(unit.get("db_pool", 0)) * (max(1, int(unit.get("workers", 2))) if unit["role"] == "web" else 1)


def connections(units: list[dict[str, Any]], dotenv: dict[str, str], told: dict[str, Any]) -> Connections:
    """`told`: max, reserved and used, as the facts have them (database.connections)."""
    need = sum(pool_of(unit, dotenv) for unit in units)
    others = max(0, int(told["used"]) - need)
    room = int(told["max"]) - int(told["reserved"]) - others - SPARE_CONNECTIONS
    return Connections(need, room, int(told["max"]), int(told["reserved"]), others)


def threads_memory_allows(unit: dict[str, Any], memory: dict[str, Any]) -> int:
    """How many more Sidekiq threads fit into the memory that is free, and into the limit of the unit."""
    used = int(unit.get("memory_bytes") or 0)
    if not used or not unit.get("concurrency"):
        return 0
    free = int(memory["available_bytes"] - RAM_LEFT_SHARE * memory["ram_bytes"])
    if unit.get("memory_max_bytes"):
        free = min(free, int(0.9 * unit["memory_max_bytes"]) - used)
    return max(0, free // max(1, used // int(unit["concurrency"])))
