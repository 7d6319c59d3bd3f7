# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dump and restore of convert_encoding where PostgreSQL runs on the host, by its own programs (private, may change any time)."""

from __future__ import annotations

import contextlib
import os

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _direct, _dump, _leftovers, _superuser
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

SECONDS = 24 * 3600.0


class OnHost:
    """How convert_encoding works on a host; where the database is in a container it is `_contained_dump.InContainer`."""

    kind = "dump_file"

    def __init__(self, change: Change) -> None:
        """Refused where it could not work, before anything is touched."""
        direct = _direct.find(change)
        self.server = _superuser.find(change, direct)
        self.serving = direct.target.database
        self._change = change
        remote = _superuser.remote_clients(change, self.server, self.serving, direct.target.user)
        if remote:
            raise Refused("Mastodon on other hosts works with this database (%s): stop its services there first" % ", ".join(remote[:5]))
        self._directory = _dump.wanted_directory(change.options.get("dump")) or _dump.DIRECTORY
        if self._directory != _dump.DIRECTORY and change.host.is_dir(self._directory):
            _dump.demand_safe(self._directory, self.server.owner.uid)

    def demand_room(self, dump: int, new: int) -> None:
        """Refused when the filesystems have not that many bytes."""
        data = self.server.data_directory(self._change.host)
        _dump.demand_room(self._change.host, [(self._directory, dump, "the dump"), (data, new, "the new database")])

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """No migration and no other run comes in between; gives the number of the session that sees to it."""
        with self.server.session(self._change.host, self.serving) as held:
            if not self._change.check_mode:
                _direct.take_lock(held)
            yield int(held.rows("SELECT pg_backend_pid()")[0][0] or 0)

    def dump(self, mark: str) -> str:
        """Path of the dump."""
        arguments = ["--encoding=UTF8", "--dbname=dbname=" + _superuser.conninfo(self.serving)]
        tool = self.server.programs + "/pg_dump"
        return _dump.dump(self._change, tool, self._directory, self.serving, self.server.owner, self._environment(mark), arguments, mark)

    def restore(self, new: str, path: str, mark: str) -> None:
        owner = self.server.owner
        if not self._change.check_mode:
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
        argv = [self.server.programs + "/pg_restore", "--exit-on-error", "--no-password", "--jobs=%d" % _dump.jobs(),
                "--dbname=dbname=" + _superuser.conninfo(new), path]
        done = self._change.command(argv, "restore into %s" % new, SECONDS, owner, self._environment(mark), quiet=True)
        if done is not None and done.rc != 0:
            raise HostError("restore into %s failed: %s" % (new, _superuser.why(done.output)))

    def _environment(self, mark: str) -> dict[str, str]:
        return dict(self.server.environment(), **_leftovers.marked(mark))
