# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset database: PostgreSQL as the app reaches it, with the app's settings and as the app's user."""

from __future__ import annotations

import re

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import effective_settings
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres import Postgres, PostgresError, Target
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules

SERVER = """SELECT current_setting('server_version_num'), current_setting('server_version'), pg_encoding_to_char(d.encoding), d.datcollate,
 current_setting('max_connections'), current_setting('superuser_reserved_connections'),
 (SELECT sum(numbackends) FROM pg_stat_database), current_setting('port'), pg_is_in_recovery()
 FROM pg_database d WHERE d.datname = current_database()"""


def target(settings: dict[str, str]) -> Target:
    """Where config/database.yml leads: DATABASE_URL wins over the DB_* keys; PostgresError(configuration) when it is no such URL."""
    url = settings.get("DATABASE_URL", "")
    if not url:
        port = settings.get("DB_PORT") or "5432"
        if not port.isdigit():
            raise PostgresError("configuration", "DB_PORT is not a number")
        return Target(settings.get("DB_HOST") or "localhost", int(port), settings.get("DB_USER") or "mastodon", settings.get("DB_PASS", ""),
                      settings.get("DB_NAME") or "mastodon_production", settings.get("DB_SSLMODE") or "prefer")
    try:
        parts = urlsplit(url)
        options = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if not parts.scheme.startswith("postgres"):
            raise ValueError
        host = unquote(options.get("host") or parts.hostname or "localhost")
        return Target(host, parts.port or 5432, unquote(parts.username or "mastodon"), unquote(parts.password or ""),
                      unquote(parts.path.lstrip("/")) or "mastodon_production", options.get("sslmode", "prefer"))
    except ValueError:
        raise PostgresError("configuration", "DATABASE_URL is not of the form postgresql://user:password@host:port/name") from None


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset. Not being reachable is a result (`error`), not a failure of the probe."""
    pending = _migration_files(host, install)
    owner = host.user(install["owner"]["user"]) if "owner" in install else None
    if owner is not None:
        host.become(owner)  # peer authentication asks the kernel who connects
    facts: dict[str, Any] = {"reachable": False, "pooler": None}
    try:
        where = target(effective_settings(install))
        facts.update(address=where.label, user=where.user, name=where.database)
        if any(unit["role"] == "pooler" and "pid" in unit for unit in install["units"]) and where.port != 5432:
            facts["pooler"] = "pgbouncer"
        with Postgres(host.connect, where) as session:
            facts["reachable"] = True
            facts["client_encoding"] = session.parameters.get("client_encoding", "")
            _server(session, facts, install)
            _schema(session, facts, pending)
    except PostgresError as problem:
        facts["error"] = {"kind": problem.kind, "message": _without_secret(str(problem), install)}
        facts["reachable"] = facts["reachable"] and problem.kind == "query"
        if facts["reachable"]:
            facts["_reason"] = "PostgreSQL refused a question: %s" % facts["error"]["message"]
    return facts


def _server(session: Postgres, facts: dict[str, Any], install: dict[str, Any]) -> None:
    row = [value or "" for value in session.rows(SERVER)[0]]
    number, most, reserved, used = (int(row[at] or 0) for at in (0, 4, 5, 6))
    minimum = rules(tuple(install.get("version", {}).get("number", (0,)))).minimum_postgresql
    room = max(1, most - reserved)
    facts.update(version_number=number, server_version=row[1].split(" ")[0], server_encoding=row[2], collation=row[3],
                 minimum_version=minimum, version_supported=number // 10000 >= minimum, standby=row[8] == "t",
                 connections={"used": used, "max": most, "reserved": reserved, "used_percent": round(100.0 * used / room, 1)})


def _schema(session: Postgres, facts: dict[str, Any], files: list[str]) -> None:
    try:
        applied = {row[0] or "" for row in session.rows("SELECT version FROM schema_migrations LIMIT 20000")}
    except PostgresError as problem:
        if problem.kind != "query":
            raise
        applied = set()  # no such table: a database that was never set up
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


def _without_secret(message: str, install: dict[str, Any]) -> str:
    for key in ("DB_PASS", "DATABASE_URL"):
        value = effective_settings(install).get(key, "")
        if len(value) >= 4:
            message = message.replace(value, "[%s]" % key)
    return "".join(character if character.isprintable() else " " for character in message)[:300]
