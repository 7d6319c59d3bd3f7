# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dump and restore by the programs of a database's own container, with the dump in there (private, may change any time).

For convert_encoding. The dump is in the data directory: PostgreSQL leaves alone what it does not know there, the room of its volume is
measured, what runs in the container may read the database anyway, and the host need have no client that is as new as the server.
"""

from __future__ import annotations

import os
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import Acted
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _contained_database, _leftovers
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._superuser import MAINTENANCE, conninfo, literal
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import ContainedServer

MAX_JOBS = 4
REMOVE_SECONDS = 600.0
_CLIENTS = "SELECT DISTINCT host(client_addr) FROM pg_stat_activity WHERE datname = %s AND client_addr IS NOT NULL"


def demand_tools(change: Change, server: ContainedServer) -> None:
    """Refused when the image lacks a program."""
    for name in ("pg_dump", "pg_restore"):
        if server.run(change.host, [name, "--version"], {}).rc != 0:
            raise Refused("%s is not in the image of %s" % (name, server.container))


def seen_from_host(change: Change, server: ContainedServer, path: str) -> str:
    """A path of the container as this host finds it, for what is free there."""
    pid = next(unit["pid"] for unit in change.units("database") if unit["name"] == server.container)
    return "/proc/%d/root%s" % (pid, path)


def strangers(change: Change, server: ContainedServer, database: str) -> list[str]:
    """Addresses from which the database is used, of none of the project's services."""
    ours = {address for unit in change.install["units"] for address in (*unit.get("_ips", ()), *unit.get("_ips6", ()))}
    rows = server.rows(change.host, MAINTENANCE, _CLIENTS % literal(database))
    return sorted({row[0] for row in rows} - ours - {"127.0.0.1", "::1"})


def dumped(change: Change, server: ContainedServer, database: str, directory: str, mark: str) -> str:
    """Path of the dump in the container, in that directory of its own: pg_dump makes it for its user alone."""
    path = "%s/fediops-%s" % (directory.rstrip("/"), mark[:8])  # a longer name would be taken for a token, and masked
    what = "dump of database %s: %s in %s" % (database, path, server.container)
    if change.before("contained_dump", what, path=path, mark=mark, **server.journaled()):
        change.say("dump database %s in %s" % (database, server.container))
        _run(change, server, ["pg_dump", "--format=directory", "--encoding=UTF8", "--file=" + path, "--jobs=%d" % _jobs(), "--no-password",
                              "--dbname=dbname=" + conninfo(database)], mark, "pg_dump of %s failed" % database)
    return path


def restored(change: Change, server: ContainedServer, database: str, path: str, mark: str) -> None:
    """Into a new database, by several jobs: the dump is a directory."""
    if not change.check_mode:
        change.say("restore into %s" % database)
        _run(change, server, ["pg_restore", "--exit-on-error", "--no-password", "--jobs=%d" % _jobs(),
                              "--dbname=dbname=" + conninfo(database), path], mark, "the dump could not be restored into UTF8")


def remove(operation: dict[str, Any], _say: Callable[[str], None]) -> None:
    """UNDO of contained_dump. PostgreSQL need not answer: where the disk is full this is what makes room again."""
    _leftovers.kill(operation["mark"])
    server = _contained_database.written(operation)
    done = server.run(Host(time.monotonic() + REMOVE_SECONDS), ["rm", "-rf", operation["path"]], {})
    if done.rc != 0:
        raise HostError("%s in %s could not be removed: %s" % (operation["path"], server.container, _contained_database.printed_why(done)))


def _run(change: Change, server: ContainedServer, words: list[str], mark: str, failed: str) -> None:
    done = server.run(change.host, words, _leftovers.marked(mark))
    change.log(failed, words, Acted(done.rc, done.err.decode("utf-8", "replace")))
    if done.rc != 0:
        raise HostError("%s: %s" % (failed, _contained_database.printed_why(done)))


def _jobs() -> int:
    return max(1, min(MAX_JOBS, os.cpu_count() or 1))
