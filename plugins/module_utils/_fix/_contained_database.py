# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL of a compose project, as its superuser: psql of its own container, started there by the engine (private).

For repair_indexes and convert_encoding; it can be asked what `_superuser.py` can be asked on a host.
"""

from __future__ import annotations

import time

from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ansible_collections.fediops.mastodon.plugins.module_utils import _engine
from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _leftovers, _superuser
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._superuser import (
    DATA_DIRECTORY,
    MAINTENANCE,
    SAME_OUTPUT,
    STATEMENT_SECONDS,
    UP_SECONDS,
    conninfo,
    literal,
)
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import Completed

MAX_ANSWER_BYTES = 16 << 20
_COLUMN, _ROW = "\x1f", "\x1e"
_SUPERUSER = "SELECT rolsuper, EXISTS (SELECT FROM pg_database WHERE datname = %s) FROM pg_roles WHERE rolname = current_user"


class ContainedServer(NamedTuple):
    """Name of the container, "uid:gid" of its server, the role, the directory of its socket (in there) and its port."""

    container: str
    user: str
    role: str
    socket: str
    port: int

    def rows(self, host: Host, database: str, sql: str) -> list[list[str]]:
        done = self._psql(host, database, [sql], [], {})
        return [row.split(_COLUMN) for row in done.out.decode("utf-8", "replace").strip("\n").split(_ROW) if row]

    def lines(self, host: Host, database: str, statements: list[str]) -> list[str]:
        """What psql prints for statements of one session; HostError with what the server said when it refuses one."""
        # Behind the rows of each statement psql ends the line, whatever parts rows.
        printed = self._psql(host, database, statements, [], {}).out.decode("utf-8", "replace").replace(_ROW, "\n")
        return [line for line in printed.splitlines() if line]

    def execute(self, database: str, *statements: str, once: bool = False, mark: str = "") -> None:
        """Run statements now, `once`: all of them or none; HostError with what the server said. `mark`: see `_leftovers`."""
        host = Host(time.monotonic() + STATEMENT_SECONDS)
        more = ["--single-transaction"] if once else []
        self._psql(host, database, list(statements), more, _leftovers.marked(mark) if mark else {})

    def run(self, host: Host, words: list[str], environment: dict[str, str]) -> Completed:
        """A program of PostgreSQL in there, led to this server."""
        own = {"PGHOST": self.socket, "PGPORT": str(self.port), "PGUSER": self.role, "PGOPTIONS": SAME_OUTPUT, "PGCLIENTENCODING": "UTF8",
               "LC_ALL": "C"}
        engine = _engine.at(host, _engine.find(host))
        container = containers.unit(host, self.container)["_container"]
        return engine.run(container, words, STATEMENT_SECONDS, MAX_ANSWER_BYTES, self.user, {**own, **environment})

    def data_directory(self, host: Host) -> str:
        return self.rows(host, MAINTENANCE, DATA_DIRECTORY)[0][0]

    def journaled(self) -> dict[str, Any]:
        return {"contained": list(self)}

    def _psql(self, host: Host, database: str, statements: list[str], more: list[str], environment: dict[str, str]) -> Completed:
        words = ["psql", "-XAtq", "--no-password", "-v", "ON_ERROR_STOP=1", "-F", _COLUMN, "-R", _ROW, "-d", "dbname=" + conninfo(database)]
        for statement in statements:
            more = [*more, "-c", statement]
        done = self.run(host, words + more, environment)
        if done.rc != 0:
            raise HostError("PostgreSQL in %s refused (%s): %s" % (self.container, statements[-1][:60], printed_why(done)))
        return done


if TYPE_CHECKING:
    Server = Union[_superuser.Superuser, ContainedServer]


def printed_why(done: Completed) -> str:
    """Why a program of the server's container failed, by what it printed."""
    return _superuser.why(done.err.decode("utf-8", "replace")) or "no answer in time"


def find(change: Change) -> tuple[ContainedServer, str]:
    """The server in the project's own container and the name of the app's database; Refused where it is not surely that of the app."""
    told = change.facts.get("database") or {}
    if not told.get("reachable"):
        raise Refused("the database cannot be reached as Mastodon reaches it: cure that first")
    if told.get("pooler"):
        raise Refused("Mastodon reaches PostgreSQL through a pooler, and which server is behind it is not known; run this on its own host")
    name, _colon, port = str(told["address"]).rpartition(":")
    for unit in change.units("database"):
        if "pid" not in unit or not port.isdigit() or name.strip("[]") not in (unit["service"], unit["name"], *unit["_ips"]):
            continue
        server = _server(change.host, unit, int(port))
        if server is not None:
            rows = server.rows(change.host, MAINTENANCE, _SUPERUSER % literal(told["name"]))
            if rows != [["t", "t"]]:
                raise Refused("%s in %s is not the superuser of the server that has %s" % (server.role, unit["name"], told["name"]))
            return server, str(told["name"])
    raise Refused("no container of the project runs the PostgreSQL at %s: run this on its own host" % told["address"])


def server_of(operation: dict[str, Any]) -> Server:
    """The server of a journaled operation, of the host or in a container, once it answers."""
    return of(operation) if "contained" in operation else _superuser.of(operation)


def of(operation: dict[str, Any]) -> ContainedServer:
    """That in a container: after a reboot it takes a moment."""
    server = journaled_as(operation)
    end = time.monotonic() + UP_SECONDS
    while True:
        try:
            server.rows(Host(time.monotonic() + 30.0), MAINTENANCE, "SELECT 1")
            return server
        except HostError:
            if time.monotonic() > end:
                raise
            time.sleep(1.0)


def journaled_as(operation: dict[str, Any]) -> ContainedServer:
    """As it is journaled, whether it answers or not."""
    container, user, role, socket, port = operation["contained"]
    return ContainedServer(str(container), str(user), str(role), str(socket), int(port))


def _server(host: Host, unit: dict[str, Any], port: int) -> ContainedServer | None:
    """Of the container's processes the one whose working directory says that it is the server of this port."""
    for pid in sorted(containers.processes(host, unit["name"]), key=int):
        lines = (host.maybe("/proc/%s/cwd/postmaster.pid" % pid, 4096) or "").splitlines()
        status = host.stat("/proc/" + pid)
        if status is not None and len(lines) > 4 and lines[3].strip() == str(port):
            role = unit["_env"].get("POSTGRES_USER") or "postgres"  # of the official image; also Debian's own name
            place = lines[4].strip() if lines[4].startswith("/") else "/tmp"  # noqa: S108  where libpq itself looks
            return ContainedServer(unit["name"], "%d:%d" % (status.st_uid, status.st_gid), role, place, port)
    return None
