# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build corrupt indexes anew: what amcheck does not pass, by REINDEX CONCURRENTLY, and checked again. Mastodon goes on meanwhile.

Rows that a unique index should have kept apart are counted and named, never deleted: which of two accounts is the right one nothing can
know from here (https://docs.joinmastodon.org/admin/troubleshooting/index-corruption/). While there are such rows nothing is touched.
"""

from __future__ import annotations

import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _amcheck, _contained_database, _direct, _leftovers, _superuser
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import Server

MAX_NAMED = 5
CONCURRENTLY_SINCE = 120000
STATEMENT_END_SECONDS = 60.0
_END = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND query LIKE 'REINDEX INDEX %%' AND strpos(query, %s) > 0 AND state = 'active'"""


def fix(change: Change) -> None:
    facts = change.facts.get("database") or {}
    if facts.get("standby"):
        raise Refused("this database is a standby: repair the primary")
    concurrently = facts.get("version_number", 0) >= CONCURRENTLY_SINCE
    if "compose" in change.install:
        # The database is of this project alone, and one host has one run at a time.
        contained, database = _contained_database.find(change)
        _repair(change, contained, database, concurrently)
        return
    direct = _direct.find(change)
    server = _superuser.find(change, direct)
    try:
        with _direct.locked(change, direct):
            _repair(change, server, direct.target.database, concurrently)
    except PostgresError as problem:
        raise HostError("PostgreSQL gave up: %s" % problem) from None


def _repair(change: Change, server: Server, database: str, concurrently: bool) -> None:
    change.say("checking all indexes of %s with amcheck" % database)
    found = _amcheck.corrupt(change.host, server, database)
    numbers = {index.oid: _amcheck.twice(change.host, server, database, index) for index in found}
    _demand_single(["%s: %d values are more than once in %s" % (index.name, numbers[index.oid], index.table)
                    for index in found if numbers[index.oid]])
    mark = _leftovers.new_mark()
    for index in found:
        what = "index %s of %s is built anew (%s)" % (index.name, index.table, index.problem)
        if change.before("reindex", what, database=database, index=index.name, mark=mark, **server.journaled()):
            change.say("building %s anew" % index.name)
            server.execute(database, "REINDEX INDEX %s%s" % ("CONCURRENTLY " if concurrently else "", index.name), mark=mark)
    if found and not change.check_mode:
        # By name: an index that was built beside the old one has a number of its own.
        left = _amcheck.corrupt(change.host, server, database, [index.name for index in found])
        if left:
            raise HostError("%s is still corrupt when new (%s): its table or the disk is damaged, restore a backup" % (
                left[0].name, left[0].problem))
        change.cannot_undo("an index that was built anew finds the same rows as a sound one; there is nothing to take back")


def _demand_single(lines: list[str]) -> None:
    if lines:
        raise Refused("rows that may be there once are there more than once, and which are right only a person can say; merge them "
                      "(tootctl maintenance fix-duplicates, or by hand), then run this again: %s" % "; ".join(lines[:MAX_NAMED]))


def remove_unfinished(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """UNDO of reindex: the old index serves on; what an interrupted REINDEX CONCURRENTLY left beside it is dropped."""
    _leftovers.kill(operation["mark"])
    server = _contained_database.server_of(operation)
    host = Host(time.monotonic() + 3600.0)
    # The server goes on with a statement whose client was killed.
    end = time.monotonic() + STATEMENT_END_SECONDS
    while server.rows(host, operation["database"], _END % _superuser.literal(operation["index"])):
        if time.monotonic() > end:
            raise HostError("the REINDEX of %s by an interrupted run does not end" % operation["index"])
        time.sleep(0.2)
    for unfinished in _amcheck.leftovers(host, server, operation["database"], operation["index"]):
        say("dropping the unfinished index %s" % unfinished)
        server.execute(operation["database"], "DROP INDEX CONCURRENTLY IF EXISTS %s" % unfinished)


UNDO = {"reindex": remove_unfinished}
