# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset database: PostgreSQL as the app reaches it, with the app's settings and as the app's user."""

from __future__ import annotations

import re

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.database_target import password_file, targets
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import effective_settings
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.messages import demand_known, harmless
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres import Postgres
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError, Target, password_of
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules

SERVER = """SELECT current_setting('server_version_num'), current_setting('server_version'), pg_encoding_to_char(d.encoding), d.datcollate,
 current_setting('max_connections'), current_setting('superuser_reserved_connections'),
 (SELECT sum(numbackends) FROM pg_stat_database), pg_backend_pid(), pg_is_in_recovery()
 FROM pg_database d WHERE d.datname = current_database()"""
# Only the app's own sessions: of others their queries cannot be seen. What waits for a moment is everyday life.
WAITING = """SELECT count(*), round(coalesce(max(extract(epoch FROM clock_timestamp() - query_start)), 0)::numeric, 1) FROM pg_stat_activity
 WHERE usename = current_user AND datname = current_database() AND wait_event_type = 'Lock'
 AND clock_timestamp() - query_start > '1 second'"""
WAITING_SINCE = 90600
UNDEFINED_TABLE = "42P01"
# What makes libpq try the next host of a list; any other answer is final.
_NEXT_HOST = ("refused", "no_socket", "timeout", "dns", "denied", "unreachable", "reset", "starting")


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset. Not being reachable is a result (`error`); HostError when this check cannot log in in the way the app does."""
    pending = _migration_files(host, install)
    owner = host.owner(install["owner"]) if "owner" in install else None
    if owner is not None:
        host.become(owner)  # peer authentication asks the kernel who connects
    settings = effective_settings(install)
    demand_known(install, "DB_", "DATABASE_URL", "PG")
    facts: dict[str, Any] = {"reachable": False}
    known: list[str] = []
    try:
        home = owner.home if owner is not None else ""
        places = with_passwords(host, targets(settings, home), password_file(settings, home))
        known = [each.password for each in places] + [each.certificates.passphrase for each in places]
        with _connect(host, places, facts) as session:
            facts["reachable"] = True
            facts["client_encoding"] = session.parameters.get("client_encoding", "")
            _server(session, facts, install)
            _waiting(session, facts)
            _schema(session, facts, pending)
    except PostgresError as problem:
        message = harmless(str(problem), install, *known)
        if problem.kind == "unsupported":
            raise HostError("PostgreSQL could not be asked as the app does it: %s" % message) from None
        if facts["reachable"] and problem.kind == "query":
            facts["_reason"] = "PostgreSQL refused a question: %s" % message
        else:
            facts.update(reachable=False, error={"kind": problem.kind, "message": message})
    return facts


def with_passwords(host: Host, places: list[Target], path: str) -> list[Target]:
    """The targets with passwords of the password file where the settings have none, as libpq does; a file open to others does not count."""
    status = host.stat(path) if path and not all(each.password for each in places) else None
    if status is None or status.st_mode & 0o077:
        return places
    text = host.maybe(path) or ""
    return [each if each.password else each._replace(password=password_of(text, each)) for each in places]


def _connect(host: Host, places: list[Target], facts: dict[str, Any]) -> Postgres:
    """A session with the first host that answers; `address` is where it was tried last."""
    failures: list[PostgresError] = []
    for where in places:
        facts.update(address=where.label, user=where.user, name=where.database)
        try:
            return Postgres(host.connect, where, host.left(30.0))
        except PostgresError as problem:
            failures.append(problem)
            if problem.kind not in _NEXT_HOST:
                break
    last = failures[-1]
    raise PostgresError(last.kind, "; ".join(str(each) for each in failures), last.state)


def _pooler(session: Postgres, backend: str, where: str, install: dict[str, Any]) -> str | None:
    """A pooler gives its clients a process number of its own making; PostgreSQL itself gives the one that answers."""
    if not session.backend or backend == str(session.backend):
        return None
    local = where.startswith(("/", "localhost:", "127.", "[::1]:"))
    return "pgbouncer" if local and any(unit["role"] == "pooler" and "pid" in unit for unit in install["units"]) else "unknown"


def _server(session: Postgres, facts: dict[str, Any], install: dict[str, Any]) -> None:
    row = [value or "" for value in session.rows(SERVER)[0]]
    number, most, reserved, used = (int(row[at] or 0) for at in (0, 4, 5, 6))
    minimum = rules(tuple(install.get("version", {}).get("number", (0,)))).minimum_postgresql
    room = max(1, most - reserved)
    facts.update(version_number=number, server_version=row[1].split(" ")[0], server_encoding=row[2], collation=row[3],
                 minimum_version=minimum, version_supported=number // 10000 >= minimum, standby=row[8] == "t",
                 pooler=_pooler(session, row[7], facts["address"], install),
                 connections={"used": used, "max": most, "reserved": reserved, "used_percent": round(100.0 * used / room, 1)})


def _waiting(session: Postgres, facts: dict[str, Any]) -> None:
    """How many sessions of the app wait for a lock that somebody else holds, and for how long."""
    if facts["version_number"] >= WAITING_SINCE:
        row = session.rows(WAITING)[0]
        facts["waiting_for_locks"] = {"sessions": int(row[0] or 0), "longest_seconds": float(row[1] or 0)}


def _schema(session: Postgres, facts: dict[str, Any], files: list[str]) -> None:
    try:
        applied = {row[0] or "" for row in session.rows("SELECT version FROM schema_migrations LIMIT 20000")}
    except PostgresError as problem:
        if problem.state != UNDEFINED_TABLE:
            raise  # not allowed, timed out …: that says nothing about the schema
        applied = set()  # a database that was never set up
        facts["schema_missing"] = True
    if not files:
        return  # the files could not be read; to call every migration "ahead" would be a lie
    newest = max(files)
    # Squashed migrations leave old numbers in the table for ever; only what is newer than all files is ahead of the code.
    facts["schema"] = {"files": len(files), "applied": len(applied), "pending": sorted(set(files) - applied)[:50],
                       "ahead": sorted(version for version in applied if version > newest)[:50],
                       "newest_file": newest, "newest_applied": max(applied) if applied else ""}


def _migration_files(host: Host, install: dict[str, Any]) -> list[str]:
    """Numbers of db/migrate and db/post_migrate of the checkout."""
    names = host.names(install["root"] + "/db/migrate") + host.names(install["root"] + "/db/post_migrate")
    return [name[:14] for name in names if re.match(r"^\d{14}_\w+\.rb$", name)]
