# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tune_concurrency where docker compose runs Mastodon: DB_POOL in the file of settings, which all its containers share.

How many threads there are stands in the compose file (the command of Sidekiq) or in settings that nobody may have made; so a pool that is
smaller than its threads can be made as large, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import capacity, project_settings
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._database_limits import limits

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change


def raise_pools(change: Change, apps: list[dict[str, Any]]) -> None:
    """apps: the containers of web, Sidekiq and streaming with what was measured of them."""
    if not any(unit.get("pool_short") for unit in apps):
        raise Refused("every pool has a connection for each of its threads; look for slow or blocked queries in pg_stat_activity")
    rails = [unit for unit in apps if unit["role"] != "streaming"]
    pool = max(int(unit.get("concurrency", 0)) for unit in rails)
    if not change.facts.get("database", {}).get("pooler"):  # whose own limits count
        # A process opens no more than its threads use, however large the pool is.
        after = [dict(unit, db_pool=min(pool, int(unit.get("concurrency", 0)))) for unit in rails]
        streaming = [dict(unit, _env={"DB_POOL": str(pool)}) for unit in apps if unit["role"] == "streaming"]
        room = capacity.connections(apps, {}, limits(change))
        need = sum(capacity.pool_of(unit, {}) for unit in [*after, *streaming])
        if need > room.room:
            raise Refused("with a pool of %d for their threads the containers would need %d connections, and there is room for %d: %s; "
                          "take threads away in the compose file, then docker compose up -d" % (pool, need, room.room, room.told()))
    project_settings.set_where_they_stand(change, {"DB_POOL": str(pool)}, apps)
