# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the data a database in UTF-8: dump, new database, restore, compare, swap names. The old one is kept, and serves on if they differ.

Option: `dump` (a directory for the dump, which is removed afterwards; true and false: the usual one; the database of a compose project is
dumped in its own container). PostgreSQL has no way to change the encoding of a database
(https://www.postgresql.org/docs/current/multibyte.html). Bytes of SQL_ASCII that are not UTF-8 have no meaning that anybody could know, so
they are named and nothing is done.
"""

from __future__ import annotations

import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import (
    _contained_database,
    _contained_dump,
    _database_swap,
    _dump,
    _leftovers,
    _superuser,
)
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_dump import InContainer
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._host_dump import OnHost
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._same_content import differences
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._utf8_check import not_utf8
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import Server

MAX_NAME_BYTES = 63
CHARACTER_TYPES = ("C.UTF-8", "C")  # the first that the system has


def fix(change: Change) -> None:
    database = change.facts.get("database") or {}
    encoding = database.get("server_encoding")
    if encoding == "UTF8":
        return
    if database.get("standby"):
        raise Refused("this database is a standby: convert the primary")
    if not encoding:
        raise Refused("the encoding of the database is not known")
    try:
        _convert(change, InContainer(change) if "compose" in change.install else OnHost(change), encoding)
    except PostgresError as problem:
        raise HostError("PostgreSQL gave up: %s" % problem) from None


def _convert(change: Change, way: InContainer | OnHost, encoding: str) -> None:
    server, serving = way.server, way.serving
    known = _database_swap.about(change.host, server, serving)
    # In UTF-8 a letter beyond ASCII takes two bytes and more; indexes are smaller when new.
    way.demand_room(int(known["bytes"]), int(known["bytes"]) * 5 // 4)
    if encoding == "SQL_ASCII":
        _demand_utf8(change, server, serving)
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime())
    new, kept, aside = (_named(serving, words, stamp) for words in ("in_unicode", "before_unicode", "after_unicode"))
    # Whose role is not bound by the limit of connections would write on while the dump is made; that is found before the names are swapped.
    change.stop_during(unit["name"] for unit in change.units("web", "sidekiq", "streaming"))
    with way.held() as own:
        if change.before("database_closed", "database %s is closed to all but this" % serving, database=serving, limit=known["limit"],
                         **server.journaled()):
            _database_swap.close(server, serving, own)
        written = _written(change, server, serving)
        mark = _leftovers.new_mark()
        # What PostgreSQL cannot turn into UTF-8 makes pg_dump fail; without an encoding (SQL_ASCII) it at least has to be UTF-8 already.
        dump = way.dump(mark)
        _create(change, server, new, known, mark)
        way.restore(new, dump, mark)
        _hand_over(change, server, serving, new, known)
        _compare(change, server, serving, new)
        if _written(change, server, serving) != written:
            raise HostError("something wrote to %s while it was converted: stop what works with it beside Mastodon's services" % serving)
    what = "database %s (%s) becomes %s, the new one in UTF8 takes its name" % (serving, encoding, kept)
    if change.before("database_rename", what, database=serving, kept=kept, aside=aside, mark=mark, **server.journaled()):
        change.say("swapping the names: the old database is kept as %s" % kept)
        limit = "ALTER DATABASE %s CONNECTION LIMIT %d" % (_superuser.name(serving), int(known["limit"]))
        _database_swap.swap(server, [(serving, kept), (new, serving)], [limit], mark)
        _remove_dumps([{"kind": way.kind, "path": dump, "mark": mark, **server.journaled()}], change.say)
    change.step["kept_database"] = kept
    # From here on posts are written that the old database lacks: only whoever asks for a rollback gives them up.
    change.step["only_by_rollback"] = True


def _written(change: Change, server: Server, serving: str) -> str:
    return "" if change.check_mode else _database_swap.writes(change.host, server, serving)


def _demand_utf8(change: Change, server: Server, serving: str) -> None:
    change.say("checking that all bytes are UTF-8")
    broken = not_utf8(change.host, server, serving)
    if broken:
        raise Refused("the database holds bytes that are not UTF-8, whose meaning nobody can know: %s; correct or remove them first" % (
            ", ".join(broken)))


def _named(database: str, words: str, stamp: str) -> str:
    ending = "_%s_%s" % (words, stamp)
    return database.encode("utf-8")[:MAX_NAME_BYTES - len(ending)].decode("utf-8", "ignore") + ending


def _create(change: Change, server: Server, new: str, known: dict[str, str], mark: str) -> None:
    if not change.before("new_database", "database %s, encoding UTF8" % new, database=new, mark=mark, **server.journaled()):
        return
    for kind in CHARACTER_TYPES:
        try:
            server.execute(_superuser.MAINTENANCE, _database_swap.creation(new, known, kind), mark=mark)
            return
        except HostError as problem:
            # Only the name of the locale may be wrong; whatever else is, is wrong with the last one too.
            if kind == CHARACTER_TYPES[-1]:
                raise HostError("the new database could not be created: %s" % problem) from None


def _compare(change: Change, server: Server, serving: str, new: str) -> None:
    if change.check_mode:
        return
    change.say("comparing all rows of %s and %s" % (serving, new))
    found, tables, rows = differences(change.host, server, serving, new, change.say)
    if found:
        raise HostError("the new database does not hold the same as the old one, which serves again: %s" % "; ".join(found[:5]))
    change.say("%d tables with %d rows are the same" % (tables, rows))


def _hand_over(change: Change, server: Server, serving: str, new: str, known: dict[str, str]) -> None:
    if change.check_mode:
        return
    statements = _database_swap.belongings(change.host, server, serving, new, known)
    if statements:
        server.execute(_superuser.MAINTENANCE, *statements, once=True)
    change.say("collecting statistics of %s" % new)
    server.execute(new, "ANALYZE")


_DUMPS = {"dump_file": _dump.remove, "contained_dump": _contained_dump.remove}


def _remove_dumps(operations: list[dict[str, Any]], say: Callable[[str], None]) -> None:
    """The kept database is the better copy. One that cannot be removed is no reason to give up what is done."""
    for each in operations:
        if each["kind"] in _DUMPS:
            try:
                _DUMPS[each["kind"]](each, say)
            except (HostError, OSError) as problem:
                say("the dump %s is left: %s" % (each["path"], problem))


def completed(operations: list[dict[str, Any]], say: Callable[[str], None]) -> bool:
    """After a reboot the app may have served from the new database for days before the next run finds its step unfinished.

    HostError while the server does not answer: nothing could be taken back either, and the database would stay closed.
    """
    for each in operations:
        if "server" in each or "contained" in each:
            _contained_database.server_of(each)
            break
    if not any(_database_swap.was_swapped(each) for each in operations if each["kind"] == "database_rename"):
        return False
    _remove_dumps(operations, say)
    return True


UNDO = {**_DUMPS, "database_closed": _database_swap.open_again, "new_database": _database_swap.drop_new,
        "database_rename": _database_swap.rename_back}
