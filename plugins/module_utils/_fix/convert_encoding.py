# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the data a database in UTF-8: dump, new database, restore, compare, swap names. The old one is kept, and serves on if they differ.

Option: `dump` (a directory for the dump, which is removed afterwards; true and false: the usual one; the database of a compose project is
dumped in its own container). PostgreSQL has no way to change the
encoding of a database (https://www.postgresql.org/docs/current/multibyte.html). Bytes of SQL_ASCII that are not UTF-8 have no meaning that
anybody could know, so they are named and nothing is done.
"""

from __future__ import annotations

import contextlib
import os
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import (
    _contained_database,
    _contained_dump,
    _database_swap,
    _direct,
    _dump,
    _leftovers,
    _superuser,
)
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import ContainedServer
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._same_content import differences
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._utf8_check import not_utf8
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import Server

SECONDS = 24 * 3600.0
MAX_JOBS = 4
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
    if "compose" in change.install:
        contained, serving = _contained_database.find(change)
        if str(change.options.get("dump") or "").startswith("/"):
            raise Refused("the dump of a database in a container stays in there until it is restored: leave out the option dump")
        _contained_dump.demand_tools(change, contained)
        strangers = _contained_dump.strangers(change, contained, serving)
        if strangers:
            raise Refused("sessions that are of no service of the project use this database (from %s): end them first" % (
                ", ".join(strangers[:5])))
        data = _data(change, contained)
        seen = _contained_dump.seen_from_host(change, contained, data)
        _convert(change, contained, serving, encoding, data, [seen, seen])
        return
    direct = _direct.find(change)
    server = _superuser.find(change, direct)
    try:
        serving = direct.target.database
        remote = _superuser.remote_clients(change, server, serving, direct.target.user)
        if remote:
            raise Refused("Mastodon on other hosts works with this database (%s): stop its services there first" % ", ".join(remote[:5]))
        directory = _dump.wanted_directory(change.options.get("dump")) or _dump.DIRECTORY
        if directory != _dump.DIRECTORY and change.host.is_dir(directory):
            _dump.demand_safe(directory, server.owner.uid)
        _convert(change, server, serving, encoding, directory, [directory, _data(change, server)])
    except PostgresError as problem:
        raise HostError("PostgreSQL gave up: %s" % problem) from None


def _data(change: Change, server: Server) -> str:
    return server.rows(change.host, _superuser.MAINTENANCE, "SELECT current_setting('data_directory')")[0][0]


def _convert(change: Change, server: Server, serving: str, encoding: str, directory: str, places: list[str]) -> None:
    """`directory` for the dump, of the host or the container; `places`: where dump and new database take room, as the host finds them."""
    known = _database_swap.about(change.host, server, serving)
    _look_first(change, server, serving, encoding, int(known["bytes"]), places)
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime())
    new, kept, aside = (_named(serving, words, stamp) for words in ("in_unicode", "before_unicode", "after_unicode"))
    # Whose role is not bound by the limit of connections would write on while the dump is made; that is found before the names are swapped.
    change.stop_during(unit["name"] for unit in change.units("web", "sidekiq", "streaming"))
    with _held(change, server, serving) as own:
        if change.before("database_closed", "database %s is closed to all but this" % serving, database=serving, limit=known["limit"],
                         **server.journaled()):
            _database_swap.close(server, serving, own)
        written = _written(change, server, serving)
        mark = _leftovers.new_mark()
        dump = _dumped(change, server, serving, directory, mark)
        _create(change, server, new, known, mark)
        _restore(change, server, new, dump, mark)
        _hand_over(change, server, serving, new, known)
        _compare(change, server, serving, new)
        if _written(change, server, serving) != written:
            raise HostError("something wrote to %s while it was converted: stop what works with it beside Mastodon's services" % serving)
    what = "database %s (%s) becomes %s, the new one in UTF8 takes its name" % (serving, encoding, kept)
    if change.before("database_rename", what, database=serving, kept=kept, aside=aside, mark=mark, **server.journaled()):
        change.say("swapping the names: the old database is kept as %s" % kept)
        limit = "ALTER DATABASE %s CONNECTION LIMIT %d" % (_superuser.name(serving), int(known["limit"]))
        _database_swap.swap(server, [(serving, kept), (new, serving)], [limit], mark)
        kind = "contained_dump" if isinstance(server, ContainedServer) else "dump_file"
        _remove_dumps([{"kind": kind, "path": dump, "mark": mark, **server.journaled()}], change.say)
    change.step["kept_database"] = kept
    # From here on posts are written that the old database lacks: only whoever asks for a rollback gives them up.
    change.step["only_by_rollback"] = True


def _written(change: Change, server: Server, serving: str) -> str:
    return "" if change.check_mode else _database_swap.writes(change.host, server, serving)


def _look_first(change: Change, server: Server, serving: str, encoding: str, size: int, places: list[str]) -> None:
    """Refused when it could not work, before anything is touched."""
    # In UTF-8 a letter beyond ASCII takes two bytes and more; indexes are smaller when new.
    _dump.demand_room(change.host, [(places[0], size, "the dump"), (places[1], size + size // 4, "the new database")])
    if encoding == "SQL_ASCII":
        change.say("checking that all bytes are UTF-8")
        broken = not_utf8(change.host, server, serving)
        if broken:
            raise Refused("the database holds bytes that are not UTF-8, whose meaning nobody can know: %s; correct or remove them first" % (
                ", ".join(broken)))


def _named(database: str, words: str, stamp: str) -> str:
    ending = "_%s_%s" % (words, stamp)
    return database.encode("utf-8")[:MAX_NAME_BYTES - len(ending)].decode("utf-8", "ignore") + ending


@contextlib.contextmanager
def _held(change: Change, server: Server, serving: str) -> Iterator[int]:
    """No migration and no other run comes in between; gives the number of the session that sees to it (0: nobody else is there)."""
    if isinstance(server, ContainedServer):
        yield 0  # the database is of this project alone, and one host has one run at a time
        return
    with server.session(change.host, serving) as held:
        if not change.check_mode:
            _direct.take_lock(held)
        yield int(held.rows("SELECT pg_backend_pid()")[0][0] or 0)


def _dumped(change: Change, server: Server, serving: str, directory: str, mark: str) -> str:
    # What PostgreSQL cannot turn into UTF-8 makes pg_dump fail; without an encoding (SQL_ASCII) it at least has to be UTF-8 already.
    if isinstance(server, ContainedServer):
        return _contained_dump.dumped(change, server, serving, directory, mark)
    environment = dict(server.environment(), **_leftovers.marked(mark))
    arguments = ["--encoding=UTF8", "--dbname=dbname=" + _superuser.conninfo(serving)]
    return _dump.dump(change, server.programs + "/pg_dump", directory, serving, server.owner, environment, arguments, mark)


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


def _restore(change: Change, server: Server, new: str, dump: str, mark: str) -> None:
    if isinstance(server, ContainedServer):
        _contained_dump.restored(change, server, new, dump, mark)
        return
    jobs = max(1, min(MAX_JOBS, os.cpu_count() or 1))
    environment = dict(server.environment(), **_leftovers.marked(mark))
    if not change.check_mode:
        os.chown(dump, server.owner.uid, server.owner.gid, follow_symlinks=False)
    argv = [server.programs + "/pg_restore", "--exit-on-error", "--no-password", "--jobs=%d" % jobs,
            "--dbname=dbname=" + _superuser.conninfo(new), dump]
    done = change.command(argv, "restore into %s" % new, SECONDS, server.owner, environment, quiet=True)
    if done is not None and done.rc != 0:
        raise HostError("the dump could not be restored into UTF8: %s" % _superuser.why(done.output))


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
