# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL server of this host, as its superuser over its socket, by its own programs (private, may change any time)."""

from __future__ import annotations

import os
import re
import socket
import time

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _direct, _leftovers
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError, Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres import Postgres
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import SOCKET_DIRECTORY, PostgresError, Target

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

MAINTENANCE = "postgres"  # the database from which others are renamed and dropped
STATEMENT_SECONDS = 12 * 3600.0
ANSWER_SECONDS = 12 * 3600.0  # reading a whole table
UP_SECONDS = 300.0  # after a crash it replays its WAL first, and a database that is not opened again stays closed to the app
# Row texts must be alike on both sides, whatever each database sets for itself.
SAME_OUTPUT = ("-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=3"
               " -c lc_monetary=C -c lc_messages=C -c statement_timeout=0 -c lock_timeout=0 -c search_path=pg_catalog")
DATA_DIRECTORY = "SELECT current_setting('data_directory')"
_CLIENTS = """SELECT DISTINCT host(client_addr) FROM pg_stat_activity
 WHERE datname = %s AND usename = %s AND client_addr IS NOT NULL"""


class Superuser(NamedTuple):
    """Which user of the host owns the server, where its programs and its socket are."""

    owner: Owner
    programs: str
    socket: str
    port: int

    def session(self, host: Host, database: str) -> Postgres:
        target = Target(self.socket, self.port, self.owner.user, "", database, options=SAME_OUTPUT)
        return _direct.session(host, target, self.owner, ANSWER_SECONDS)

    def rows(self, host: Host, database: str, sql: str) -> list[list[str]]:
        with self.session(host, database) as asked:
            return [[value or "" for value in row] for row in asked.rows(sql)]

    def lines(self, host: Host, database: str, statements: list[str]) -> list[str]:
        """What psql prints for statements of one session; HostError with what the server said when it refuses one."""
        done = host.run(self.psql(database, *statements), STATEMENT_SECONDS, owner=self.owner, environment=self.environment())
        if done.rc != 0:
            raise HostError(why(done.err.decode("utf-8", "replace")) or "no answer in time")
        return [line for line in done.out.decode("utf-8", "replace").splitlines() if line]

    def environment(self) -> dict[str, str]:
        return {"PGHOST": self.socket, "PGPORT": str(self.port), "PGUSER": self.owner.user, "PGOPTIONS": SAME_OUTPUT}

    def psql(self, database: str, *statements: str, once: bool = False) -> list[str]:
        """argv that runs statements, stopping at the first error; `once`: all of them or none."""
        words = [self.programs + "/psql", "-XAtq", "--no-password", "-v", "ON_ERROR_STOP=1", "-d", "dbname=" + conninfo(database)]
        words += ["--single-transaction"] if once else []
        for statement in statements:
            words += ["-c", statement]
        return words

    def execute(self, database: str, *statements: str, once: bool = False, mark: str = "") -> None:
        """Run statements now; HostError with what the server said. `mark`: see `_leftovers`."""
        environment = dict(self.environment(), **(_leftovers.marked(mark) if mark else {}))
        done = act(self.psql(database, *statements, once=once), STATEMENT_SECONDS, self.owner, environment)
        if done.rc != 0:
            raise HostError("PostgreSQL refused (%s): %s" % (statements[-1][:60], why(done.output) or "no answer in time"))

    def data_directory(self, host: Host) -> str:
        return self.rows(host, MAINTENANCE, DATA_DIRECTORY)[0][0]

    def journaled(self) -> dict[str, Any]:
        """What an undo needs to find the server again."""
        return {"server": [list(self.owner), self.programs, self.socket, self.port]}


def of(operation: dict[str, Any]) -> Superuser:
    """The server of a journaled operation, once it answers: after a reboot that takes a moment."""
    owner, programs, where, port = operation["server"]
    server = Superuser(Owner(*owner), programs, where, port)
    end = time.monotonic() + UP_SECONDS
    while True:
        try:
            server.rows(Host(time.monotonic() + 10.0), MAINTENANCE, "SELECT 1")
            return server
        except PostgresError as problem:
            if time.monotonic() > end:
                raise HostError("PostgreSQL at %s does not answer: %s" % (where, problem)) from None
            time.sleep(0.5)


def find(change: Change, direct: _direct.Direct) -> Superuser:
    """The server behind the direct way, when it is of this host; Refused with what is missing otherwise."""
    target = direct.target
    missing = "only the superuser of PostgreSQL can rewrite the database, on its own host (run this there, or convert it by hand): "
    if not target.host.startswith(_direct.LOCAL):
        raise Refused(missing + "PostgreSQL is at %s, not on this host" % target.label)
    pid = next((unit["pid"] for unit in change.units("database") if "pid" in unit and _listens(change, unit, target.port)), 0)
    status = change.host.stat("/proc/%d" % pid) if pid else None
    owner = change.host.user(status.st_uid) if status is not None else None
    programs = os.path.dirname(change.host.link("/proc/%d/exe" % pid)) if pid else ""
    if owner is None or not programs:
        raise Refused(missing + "no unit of this host runs the PostgreSQL at port %d" % target.port)
    for name in ("psql", "pg_dump", "pg_restore"):
        if not change.host.is_executable(programs + "/" + name):
            raise Refused("%s is not installed beside the server in %s" % (name, programs))
    where = target.host if target.host.startswith("/") else _socket(change, target.port)
    server = Superuser(owner, programs, where, target.port)
    try:
        with _direct.session(change.host, target, change.owner()) as app, server.session(change.host, target.database) as mine:
            question = ("SELECT extract(epoch FROM pg_postmaster_start_time())::text,"
                        " (SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user)")
            theirs, ours = app.rows(question)[0], mine.rows(question)[0]
    except PostgresError as problem:
        raise Refused(missing + "user %s may not log in as the superuser over the socket in %s (%s); peer authentication for it in "
                      "pg_hba.conf would do" % (owner.user, where, problem)) from None
    if ours[0] != theirs[0] or ours[1] != "true":
        raise Refused(missing + "the role %s over the socket in %s is not the superuser of that server" % (owner.user, where))
    return server


def remote_clients(change: Change, server: Superuser, database: str, user: str) -> list[str]:
    """Addresses of other hosts whose sessions the app's role has in the database right now."""
    rows = server.rows(change.host, MAINTENANCE, _CLIENTS % (literal(database), literal(user)))
    return sorted(row[0] for row in rows if not _is_ours(row[0]))


def why(printed: str) -> str:
    """The line of what a program of PostgreSQL printed that tells what failed: details, hints and the command stand behind it."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"\b(?:ERROR|FATAL|error): ", line)]
    return (telling or lines or [""])[-1][:300]


def name(text: str) -> str:
    """Quoted as an identifier."""
    return '"' + text.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quoted as a string, whatever standard_conforming_strings says."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return " E" + quoted if "\\" in text else quoted


def conninfo(text: str) -> str:
    """Quoted as a value of a connection string: a database name could be one itself."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _listens(change: Change, unit: dict[str, Any], port: int) -> bool:
    """Whether the server of that unit has this port: the fourth line of its postmaster.pid."""
    where = change.host.link("/proc/%d/cwd" % unit["pid"])
    lines = (change.host.maybe(where + "/postmaster.pid", 4096) or "").splitlines()
    return len(lines) > 3 and lines[3].strip() == str(port)


def _socket(change: Change, port: int) -> str:
    for unit in change.units("database"):
        if "pid" in unit and _listens(change, unit, port):
            lines = (change.host.maybe(change.host.link("/proc/%d/cwd" % unit["pid"]) + "/postmaster.pid", 4096) or "").splitlines()
            if len(lines) > 4 and lines[4].startswith("/"):
                return lines[4].strip()
    return SOCKET_DIRECTORY


def _is_ours(address: str) -> bool:
    """Whether an address is one of this host: only such can be bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as attempt:
        try:
            attempt.bind((address, 0))
        except OSError:
            return False
        return True
