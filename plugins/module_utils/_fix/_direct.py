# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to PostgreSQL itself, past any pooler, proven to be one (private, may change any time).

Migrations hold a session advisory lock and dumps a session too: behind a transaction pooler neither belongs to whoever took it. That a
connection is direct shows in the number of the backend: a pooler gives its clients one of its own making. That it leads to the database of
the app shows in when the server was started and the number (oid) of the database, which are the same on both ways.
"""

from __future__ import annotations

import contextlib
import os
import zlib

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _pgbouncer
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.database import with_passwords
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.database_target import password_file, targets
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import effective_settings
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.messages import demand_known, harmless
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres import Postgres
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError, Target

if TYPE_CHECKING:
    import socket

    from collections.abc import Iterator

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, Owner

SESSION_SECONDS = 10 * 86400.0
ANSWER_SECONDS = 30.0
LOCAL = ("/", "localhost", "127.", "::1")
OUR_LOCK = 0x66656469_6F707301  # "fediops", then 01: the one lock of this collection in a database
_RAILS_SALT = 2053462845  # ActiveRecord::Migrator::MIGRATOR_SALT
_WHERE = """SELECT extract(epoch FROM pg_postmaster_start_time())::text,
 (SELECT oid::text FROM pg_database WHERE datname = current_database()), pg_is_in_recovery()::text, pg_backend_pid()::text"""
_REDIRECTED = ("host", "port", "hostaddr", "user", "username", "password", "dbname", "database", "sslmode")


class Direct(NamedTuple):
    """Where PostgreSQL itself is; `way` says how it was found; `environment` leads a command of the app there (holds the password)."""

    target: Target
    way: str
    environment: dict[str, str]
    pooled: bool  # the app itself goes through a pooler


def find(change: Change) -> Direct:
    """The proven direct way to the app's database; Refused with the option that would help."""
    database = change.facts.get("database") or {}
    if not database.get("reachable"):
        raise Refused("the database cannot be reached as Mastodon reaches it (%s): cure that first" % (
            (database.get("error") or {}).get("message") or "the subset database could not be observed"))
    settings = effective_settings(change.install)
    demand_known(change.install, "DB_", "DATABASE_URL", "PG")
    app = _of_the_app(change, settings, database)
    try:
        with session(change.host, app, change.owner()) as through:
            wanted = _row(through)
            if through.backend and wanted[3] == str(through.backend) and not _options(change):
                return Direct(app, "as Mastodon itself", {}, False)
    except PostgresError as problem:
        raise Refused("the database at %s could not be asked: %s" % (
            app.label, harmless(str(problem), change.install, app.password))) from None
    tried = []
    for target, way in _candidates(change, app):
        why = _why_not(change, target, wanted)
        if not why:
            return Direct(target, way, {} if target == app else redirected(settings, target), target != app)
        tried.append("%s: %s" % (target.label, why))
    raise Refused("PostgreSQL itself, past the pooler at %s, was not found%s: give its address with direct_host and direct_port" % (
        app.label, " (%s)" % "; ".join(tried) if tried else ""))


def session(host: Host, target: Target, owner: Owner, answer_seconds: float = ANSWER_SECONDS) -> Postgres:
    """A session as that user of the host: peer authentication asks the kernel who connects, and that is the effective user."""
    def connect(address: Any) -> socket.socket:
        with acting_as(owner):
            return host.connect(address, 10.0)

    return Postgres(connect, target, SESSION_SECONDS, answer_seconds)


@contextlib.contextmanager
def acting_as(owner: Owner) -> Iterator[None]:
    """Be that user for a moment; this process has no threads."""
    if os.geteuid() != 0 or owner.uid == 0:
        yield
        return
    os.setegid(owner.gid)
    os.seteuid(owner.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextlib.contextmanager
def locked(change: Change, direct: Direct) -> Iterator[Postgres]:
    """A direct session that holds this collection's lock of the database, for as long as it is open; in check mode without the lock."""
    with session(change.host, direct.target, change.owner()) as held:
        if not change.check_mode:
            take_lock(held)
        yield held


def take_lock(held: Postgres) -> None:
    """Refused when another host works on this database; the lock ends with the session, however that ends."""
    # A session that waits for hours must not be ended for being idle; the setting is of the session, and the session is ours alone.
    held.rows("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
    if held.rows("SELECT pg_try_advisory_lock(%d)" % OUR_LOCK) != [["t"]]:
        raise Refused("another host works on this database right now (its advisory lock %d is taken): wait until that run ends" % OUR_LOCK)


def migration_lock_holders(held: Postgres, database: str) -> list[dict[str, str]]:
    """Who holds the advisory lock of Rails' migrations: pid, state, seconds since then, and from where the session comes."""
    key = _RAILS_SALT * zlib.crc32(database.encode("utf-8"))
    question = """SELECT l.pid, coalesce(a.state, '?'), coalesce(round(extract(epoch FROM now() - a.state_change))::text, '?'),
 coalesce(host(a.client_addr), 'a Unix socket')
 FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database() LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint = %d AND l.objid::bigint = %d"""
    rows = held.rows(question % (key >> 32, key & 0xFFFFFFFF))
    return [dict(zip(("pid", "state", "seconds", "client"), (value or "" for value in row))) for row in rows]


def redirected(settings: dict[str, str], target: Target) -> dict[str, str]:
    """The environment that leads Rails to the target. DATABASE_URL, where it is set, wins over DB_*, so it must lead there too."""
    environment = {"DB_HOST": target.host, "DB_PORT": str(target.port), "DB_NAME": target.database, "DB_USER": target.user,
                   "DB_PASS": target.password, "DB_SSLMODE": target.sslmode}
    if settings.get("DATABASE_URL"):
        parts = urlsplit(settings["DATABASE_URL"])
        query = [pair for pair in parse_qsl(parts.query) if pair[0] not in _REDIRECTED]
        place = "[%s]" % target.host if ":" in target.host else target.host
        if target.host.startswith("/"):  # Rails' parser takes no path as a host, but as a parameter
            place, query = "localhost", [*query, ("host", target.host)]
        user = quote(target.user, safe="") + (":" + quote(target.password, safe="") if target.password else "")
        environment["DATABASE_URL"] = "postgresql://%s@%s:%d/%s?%s" % (
            user, place, target.port, quote(target.database, safe=""), urlencode([*query, ("sslmode", target.sslmode)]))
    return environment


def libpq(target: Target) -> dict[str, str]:
    """The environment that leads libpq's programs (pg_dump, psql) to the target; nothing of it stands on a command line."""
    files = target.certificates
    given = {"PGHOST": target.host, "PGPORT": str(target.port), "PGUSER": target.user, "PGDATABASE": target.database,
             "PGPASSWORD": target.password, "PGSSLMODE": target.sslmode, "PGSSLROOTCERT": files.root, "PGSSLCERT": files.cert,
             "PGSSLKEY": files.key}
    return {key: value for key, value in given.items() if value}


def _options(change: Change) -> bool:
    return bool(change.options.get("direct_host") or change.options.get("direct_port"))


def _of_the_app(change: Change, settings: dict[str, str], database: dict[str, Any]) -> Target:
    """Of the places that the settings name, the one that answered when the host was observed, with its password."""
    home = change.owner().home
    try:
        places = with_passwords(change.host, targets(settings, home), password_file(settings, home))
    except PostgresError as problem:
        raise Refused("the settings of the database are not understood: %s" % harmless(str(problem), change.install)) from None
    return next((each for each in places if each.label == database.get("address")), places[0])


def _row(through: Postgres) -> list[str]:
    return [value or "" for value in through.rows(_WHERE)[0]]


def _candidates(change: Change, app: Target) -> list[tuple[Target, str]]:
    if _options(change):
        host, port = (str(change.options.get(key) or "").strip() for key in ("direct_host", "direct_port"))
        if port and not (port.isdigit() and 0 < int(port) < 65536):
            raise Refused("direct_port is a port of PostgreSQL, not %r" % port[:40])
        return [(app._replace(host=host or app.host, port=int(port or 5432)), "given by direct_host and direct_port")]
    if not app.host.startswith(LOCAL):
        return []
    return _behind_poolers_of_this_host(change, app)


def _behind_poolers_of_this_host(change: Change, app: Target) -> list[tuple[Target, str]]:
    found: list[tuple[Target, str]] = []
    paths = [word for unit in change.units("pooler") for word in unit["_argv"] if word.endswith(".ini")]
    for path in [*paths, _pgbouncer.USUAL_PATH]:
        text = change.host.maybe(path, _pgbouncer.MAX_BYTES)
        if text is None or any(way.endswith(path) for _target, way in found):
            continue
        configuration = _pgbouncer.read(path, lambda name: change.host.text(name, _pgbouncer.MAX_BYTES))
        behind = configuration.behind(app.database)
        if behind is None or configuration.port != app.port:
            continue
        user = behind.user or app.user
        known = _pgbouncer.userlist(change.host.maybe(configuration.settings.get("auth_file", ""), _pgbouncer.MAX_BYTES) or "")
        password = behind.password or (app.password if user == app.user else "") or known.get(user, "")
        for host in behind.hosts:
            found.append((app._replace(host=host, port=behind.port, database=behind.database, user=user, password=password,
                                       sslmode=behind.sslmode), "found in " + path))
    return found


def _why_not(change: Change, target: Target, wanted: list[str]) -> str:
    """Empty when the target is the app's database and nothing stands between; else why not."""
    try:
        with session(change.host, target, change.owner()) as straight:
            here = _row(straight)
            if here[3] != str(straight.backend):
                return "a pooler answers there too"
            if here[:2] != wanted[:2]:
                return "that is another server or another database"
            return "that is a standby" if here[2] == "true" else ""
    except PostgresError as problem:
        return harmless(str(problem), change.install, target.password)
