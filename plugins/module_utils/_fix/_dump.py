# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps by pg_dump: the program that fits the server, the room, and a file that only root may read (private, may change any time)."""

from __future__ import annotations

import os
import re
import stat
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app, _leftovers
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, Owner

DIRECTORY = "/var/backups/fediops.mastodon"
SECONDS = 24 * 3600.0
SPARE_BYTES = 256 << 20
MAX_JOBS = 4
ELSEWHERE = "make room or name another directory with the option dump"
COMPLETE = 0o400  # mode of a dump that is whole
_PLACES = ("/usr/lib/postgresql/%d/bin", "/usr/pgsql-%d/bin")


def jobs() -> int:
    """How many of them pg_restore may use, and a pg_dump into a directory."""
    return max(1, min(MAX_JOBS, os.cpu_count() or 1))


def wanted_directory(option: Any) -> str:
    """Directory for the option `dump` (true, false or a path); empty: no dump."""
    text = str(option if option is not None else "").strip()
    if text.lower() in ("", "false", "no", "0"):
        return ""
    if text.lower() in ("true", "yes", "1"):
        return DIRECTORY
    if not text.startswith("/"):
        raise Refused("dump is true, false or an absolute path of a directory, not %r" % text[:60])
    return text.rstrip("/") or "/"


def program(host: Host, name: str, major: int, beside: str = "") -> str:
    """Path of a client program at least as new as the server: an older one refuses to dump."""
    for path in [beside + "/" + name if beside else ""] + [place % major + "/" + name for place in _PLACES]:
        if path and host.is_executable(path):
            return path
    try:
        said = host.run([name, "--version"], 5.0).out.decode("utf-8", "replace")
    except HostError:
        said = ""
    number = re.search(r"\(PostgreSQL\) (\d+)", said)
    if number is None or int(number.group(1)) < major:
        raise Refused("%s of PostgreSQL %d is not installed on this host: install postgresql-client-%d" % (name, major, major))
    return name


def demand_room(host: Host, needs: list[tuple[str, int, str]], advice: str = ELSEWHERE) -> None:
    """Refused when a filesystem has not the room for all that is to go there: (path, bytes, what)."""
    filesystems: dict[int, list[tuple[str, int, str]]] = {}
    for path, size, what in needs:
        while path != "/" and host.stat(path) is None:
            path = os.path.dirname(path)
        status = host.stat(path)
        if status is not None:
            filesystems.setdefault(status.st_dev, []).append((path, size, what))
    for each in filesystems.values():
        path, total = each[0][0], sum(size for _path, size, _what in each) + SPARE_BYTES
        space = host.space(path)
        free = space.f_bavail * space.f_frsize if space is not None else 0
        if free < total:
            raise Refused("%s need up to %s below %s, where %s are free: %s" % (
                " and ".join(what for _path, _size, what in each), _app.size(total), path, _app.size(free), advice))


def dump(change: Change, tool: str, directory: str, database: str, owner: Owner, environment: dict[str, str], arguments: list[str],
         mark: str) -> str:
    """Write a dump as that user; its path. HostError when pg_dump fails. `mark`: see `_leftovers`."""
    prepare(change, directory, owner.uid)
    path = "%s/%s-%s.dump" % (directory, re.sub(r"[^\w.-]", "_", database)[:60], time.strftime("%Y%m%d-%H%M%S", time.gmtime()))
    change.before("dump_file", "dump of database %s: %s" % (database, path), path=path, mark=mark)
    if change.check_mode:
        return path
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchown(handle, owner.uid, owner.gid)
        argv = [tool, "--format=custom", "--no-password", "--file", path, *arguments]
        done = change.command(argv, "dump database %s" % database, SECONDS, owner, environment, quiet=True)
        if done is None or done.rc != 0:
            raise HostError("pg_dump of %s failed: %s" % (database, done.last_line if done else "it was not run"))
        os.fchown(handle, 0, 0)
        os.fchmod(handle, COMPLETE)
        os.fsync(handle)
        change.say("the dump is %s (%s)" % (path, _app.size(os.fstat(handle).st_size)))
    finally:
        os.close(handle)
    return path


def demand_safe(directory: str, uid: int) -> None:
    """Refused when others than root and that user could put another file in the place of the dump, on the way to it or in it."""
    here = os.path.realpath(directory)
    while True:
        status = os.stat(here)
        if status.st_uid not in (0, uid) or (status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX):
            raise Refused("%s may be changed by others (owner %d, mode %04o), and with it the dump: give a directory that only root can "
                          "change with the option dump" % (here, status.st_uid, stat.S_IMODE(status.st_mode)))
        if here == "/":
            return
        here = os.path.dirname(here)


def prepare(change: Change, directory: str, uid: int) -> None:
    """The directory: made when it is ours; another must be there, and nobody's but root's or that user's."""
    if directory == DIRECTORY:
        if not change.host.is_dir(os.path.dirname(directory)):
            change.make_directory(os.path.dirname(directory))
        # Who dumps must get through to the one file that is his, and sees no others.
        change.make_directory(directory, 0o711)
    elif not change.host.is_dir(directory):
        raise Refused("the directory %s for the dump does not exist" % directory)
    else:
        demand_safe(directory, uid)


def remove(operation: dict[str, Any], _say: Any) -> None:
    """UNDO of dump_file where the dump was but a means."""
    _leftovers.kill(operation["mark"])
    try:
        os.unlink(operation["path"])
    except FileNotFoundError:
        return


def remove_torn(operation: dict[str, Any], say: Any) -> None:
    """UNDO of dump_file where the dump is what one may have to go back to: a whole one stays."""
    _leftovers.kill(operation["mark"])
    try:
        whole = stat.S_IMODE(os.lstat(operation["path"]).st_mode) == COMPLETE
    except FileNotFoundError:
        return
    if not whole:
        remove(operation, say)
