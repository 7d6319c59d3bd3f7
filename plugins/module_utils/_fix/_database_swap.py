# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closing a database to the app, giving a new one what belongs to the old, and swapping their names (private, may change any time).

A dump holds what is in a database, not what the cluster knows about it: settings, privileges, comment and limit of connections.
"""

from __future__ import annotations

import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _leftovers
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import server_of
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._superuser import MAINTENANCE, literal, name
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import Server

TRIES = 10
TEMPLATE = "template1"  # the other database that every server has
COUNTED_SECONDS = 1.5  # a session tells what it wrote half a second later at the latest
_WRITES = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::text FROM pg_stat_user_tables"
STATEMENT_END_SECONDS = 60.0
_END = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname IN (%s) AND pid NOT IN (pg_backend_pid(), %d) AND backend_type = 'client backend'"""
_END_STATEMENTS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE strpos(query, %s) > 0 AND state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
# Their values are lists, stored as they are written behind TO; as one string they would be one strange name.
_LISTS = ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries", "datestyle")
_SETTINGS = """SELECT CASE WHEN s.setrole = 0 THEN '' ELSE r.rolname END, unnest(s.setconfig) FROM pg_db_role_setting s
 LEFT JOIN pg_roles r ON r.oid = s.setrole JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = %s"""
_PRIVILEGES = """SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable::text FROM pg_database d, aclexplode(d.datacl) a
 LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE d.datname = %s"""
_ABOUT = """SELECT pg_get_userbyid(d.datdba), t.spcname, d.datconnlimit::text, (d.datacl IS NULL)::text,
 coalesce(shobj_description(d.oid, 'pg_database'), ''), d.datcollate, pg_database_size(d.oid)::text, current_setting('server_version_num')
 FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = %s"""


def about(host: Host, server: Server, database: str) -> dict[str, str]:
    """owner, tablespace, limit (of connections), default_privileges, comment, collation, bytes, server of a database."""
    row = server.rows(host, MAINTENANCE, _ABOUT % literal(database))[0]
    return dict(zip(("owner", "tablespace", "limit", "default_privileges", "comment", "collation", "bytes", "server"), row))


def exists(host: Host, server: Server, database: str) -> bool:
    return server.rows(host, MAINTENANCE, "SELECT count(*) FROM pg_database WHERE datname = %s" % literal(database)) == [["1"]]  # noqa: S608


def creation(new: str, known: dict[str, str], character_type: str) -> str:
    """CREATE DATABASE in UTF-8: sorted by bytes, as upstream recommends and no upgrade of the C library can spoil."""
    provider = " LOCALE_PROVIDER libc" if int(known["server"]) >= 150000 else ""
    return ("CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8'%s LC_COLLATE 'C' LC_CTYPE %s TABLESPACE %s CONNECTION LIMIT 0"
            % (name(new), name(known["owner"]), provider, literal(character_type), name(known["tablespace"])))


def belongings(host: Host, server: Server, old: str, new: str, known: dict[str, str]) -> list[str]:
    """Statements that give the new database the settings, privileges and comment of the old one."""
    statements = []
    for role, setting in server.rows(host, MAINTENANCE, _SETTINGS % literal(old)):
        key, _equals, value = setting.partition("=")
        if not re.match(r"^[\w.]+$", key):
            raise HostError("database %s has a setting with a strange name" % old)
        whose = "ROLE %s IN DATABASE %s" % (name(role), name(new)) if role else "DATABASE " + name(new)
        statements.append("ALTER %s SET %s TO %s" % (whose, key, value or "''" if key.lower() in _LISTS else literal(value)))
    if known["default_privileges"] != "true":
        statements.append("REVOKE ALL ON DATABASE %s FROM PUBLIC" % name(new))
        for role, privilege, grantable in server.rows(host, MAINTENANCE, _PRIVILEGES % literal(old)):
            statements.append("GRANT %s ON DATABASE %s TO %s%s" % (
                privilege, name(new), name(role) if role else "PUBLIC", " WITH GRANT OPTION" if grantable == "true" else ""))
    if known["comment"]:
        statements.append("COMMENT ON DATABASE %s IS %s" % (name(new), literal(known["comment"])))
    return statements


def close(server: Server, database: str, but: int = 0) -> None:
    """No more sessions but the superuser's, and those that are there end. A limit does not bind superusers; the comparison guards those."""
    server.execute(MAINTENANCE, "ALTER DATABASE %s CONNECTION LIMIT 0" % name(database), _end_sessions([database], but))


def writes(host: Host, server: Server, database: str) -> str:
    """A number that is another one when rows were written in between."""
    time.sleep(COUNTED_SECONDS)
    return server.rows(host, database, _WRITES)[0][0]


def swap(server: Server, moves: list[tuple[str, str]], more: list[str], mark: str = "") -> None:
    """Rename databases in one transaction: both names change, or none. Sessions that come in between are ended, and it is tried again."""
    statements = ["ALTER DATABASE %s RENAME TO %s" % (name(old), name(new)) for old, new in moves] + more
    # No session can rename the database it is in, and Mastodon's own may be called so: its setup proposes that in containers.
    place = TEMPLATE if any(old == MAINTENANCE for old, _new in moves) else MAINTENANCE
    for attempt in range(TRIES):
        server.execute(place, _end_sessions([old for old, _new in moves], 0))
        try:
            server.execute(place, *statements, once=True, mark=mark)
            return
        except HostError as problem:
            if attempt == TRIES - 1 or "is being accessed" not in str(problem):
                raise
            time.sleep(0.5)


def open_again(operation: dict[str, Any], _say: Callable[[str], None]) -> None:
    """UNDO of database_closed."""
    server = server_of(operation)
    if exists(_host(), server, operation["database"]):
        server.execute(MAINTENANCE, "ALTER DATABASE %s CONNECTION LIMIT %d" % (name(operation["database"]), int(operation["limit"])))


def drop_new(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """UNDO of new_database: one that never served. What served was renamed by `rename_back` before."""
    server = server_of(operation)
    _end_statements(server, operation)
    if exists(_host(), server, operation["database"]):
        say("dropping the unfinished database %s" % operation["database"])
        server.execute(MAINTENANCE, _end_sessions([operation["database"]], 0))
        server.execute(MAINTENANCE, "DROP DATABASE " + name(operation["database"]))


def rename_back(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """UNDO of database_rename: the old database serves again. The converted one may hold posts of since then and is kept."""
    server, serving, kept = server_of(operation), operation["database"], operation["kept"]
    _end_statements(server, operation)
    if not exists(_host(), server, kept):
        return  # the names were never swapped, or are already swapped back
    if exists(_host(), server, serving):
        close(server, serving)
        swap(server, [(serving, operation["aside"]), (kept, serving)], [])
        say("the old database serves again; the converted one is kept as %s, closed" % operation["aside"])
    else:
        swap(server, [(kept, serving)], [])


def was_swapped(operation: dict[str, Any]) -> bool:
    """Whether the names of a journaled database_rename are swapped, once no statement can swap them any more."""
    server = server_of(operation)
    _end_statements(server, operation)
    return exists(_host(), server, operation["kept"]) and exists(_host(), server, operation["database"])


def _end_sessions(databases: list[str], but: int) -> str:
    return _END % (", ".join(literal(each) for each in databases), but)


def _end_statements(server: Server, operation: dict[str, Any]) -> None:
    """A statement goes on in the server for a while when its client was killed: end those of this step, and wait until they are over."""
    if operation.get("mark"):
        _leftovers.kill(operation["mark"])
    end = time.monotonic() + STATEMENT_END_SECONDS
    while server.rows(_host(), MAINTENANCE, _END_STATEMENTS % literal(name(operation["database"]))):
        if time.monotonic() > end:
            raise HostError("a statement about database %s of an interrupted run does not end" % operation["database"])
        time.sleep(0.2)


def _host() -> Host:
    return Host(time.monotonic() + 3600.0)
