# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dump and restore by the programs of a database's own container, with the dump in there (private, may change any time).

For convert_encoding. The dump is in the data directory: PostgreSQL leaves alone what it does not know there, the room of its volume is
measured, what runs in the container may read the database anyway, and the host need have no client that is as new as the server.
"""

from __future__ import annotations

import contextlib
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import Acted
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _contained_database, _dump, _leftovers
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._superuser import MAINTENANCE, conninfo, literal
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

REMOVE_SECONDS = 600.0
_CLIENTS = "SELECT DISTINCT host(client_addr) FROM pg_stat_activity WHERE datname = %s AND client_addr IS NOT NULL"


class InContainer:
    """How convert_encoding works where the database is in a container; on a host it is `_host_dump.OnHost`."""

    kind = "contained_dump"

    def __init__(self, change: Change) -> None:
        """Refused where it could not work, before anything is touched."""
        self.server, self.serving = _contained_database.find(change)
        self._change = change
        if str(change.options.get("dump") or "").startswith("/"):
            raise Refused("the dump of a database in a container stays in there until it is restored: leave out the option dump")
        for name in ("pg_dump", "pg_restore"):
            if self.server.run(change.host, [name, "--version"], {}).rc != 0:
                raise Refused("%s is not in the image of %s" % (name, self.server.container))
        strangers = self._strangers()
        if strangers:
            raise Refused("sessions that are of no service of the project use this database (from %s): end them first" % (
                ", ".join(strangers[:5])))
        self._directory = self.server.data_directory(change.host)

    def demand_room(self, dump: int, new: int) -> None:
        """Refused when the volume has not that many bytes."""
        pid = next(unit["pid"] for unit in self._change.units("database") if unit["name"] == self.server.container)
        seen = "/proc/%d/root%s" % (pid, self._directory)
        _dump.demand_room(self._change.host, [(seen, dump, "the dump"), (seen, new, "the new database")], "make room")

    def held(self) -> contextlib.AbstractContextManager[int]:
        """No session sees to it that nobody comes in between: the database is of this project, and a host has one run at a time."""
        return contextlib.nullcontext(0)

    def dump(self, mark: str) -> str:
        """Path of the dump in the container, in a directory of its own: pg_dump makes it for its user alone."""
        # A longer name would be taken for a token, and masked.
        path = "%s/fediops-%s" % (self._directory.rstrip("/"), mark[:8])
        what = "dump of database %s: %s in %s" % (self.serving, path, self.server.container)
        if self._change.before(self.kind, what, path=path, mark=mark, **self.server.journaled()):
            into = ["--format=directory", "--encoding=UTF8", "--file=" + path]
            self._run("dump database " + self.serving, mark, self.serving, "pg_dump", *into)
        return path

    def restore(self, new: str, path: str, mark: str) -> None:
        if not self._change.check_mode:
            self._run("restore into " + new, mark, new, "pg_restore", "--exit-on-error", path)

    def _run(self, what: str, mark: str, database: str, program: str, *arguments: str) -> None:
        self._change.say("%s in %s" % (what, self.server.container))
        words = [program, "--no-password", "--jobs=%d" % _dump.jobs(), "--dbname=dbname=" + conninfo(database), *arguments]
        done = self.server.run(self._change.host, words, _leftovers.marked(mark))
        self._change.log(what, words, Acted(done.rc, done.err.decode("utf-8", "replace")))
        if done.rc != 0:
            raise HostError("%s failed: %s" % (what, _contained_database.printed_why(done)))

    def _strangers(self) -> list[str]:
        """Addresses from which the database is used, of none of the project's services."""
        ours = {address for unit in self._change.install["units"] for address in (*unit.get("_ips", ()), *unit.get("_ips6", ()))}
        rows = self.server.rows(self._change.host, MAINTENANCE, _CLIENTS % literal(self.serving))
        return sorted({row[0] for row in rows} - ours - {"127.0.0.1", "::1"})


def remove(operation: dict[str, Any], _say: Callable[[str], None]) -> None:
    """UNDO of contained_dump. PostgreSQL need not answer: where the disk is full this is what makes room again."""
    _leftovers.kill(operation["mark"])
    server = _contained_database.journaled_as(operation)
    done = server.run(Host(time.monotonic() + REMOVE_SECONDS), ["rm", "-rf", operation["path"]], {})
    if done.rc != 0:
        raise HostError("%s in %s could not be removed: %s" % (operation["path"], server.container, _contained_database.printed_why(done)))
