# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owner and mode of a tree with millions of files that somebody else may turn round meanwhile (private, may change any time).

Directories are opened relative to each other without following links, so what is moved or swapped is not followed; other filesystems are
not entered. First all that is wrong is listed, compressed and on disk before anything is touched; then the list is worked off. The same
list takes it back: a path counts only while it is still the same file (inode).
"""

from __future__ import annotations

import gzip
import json
import os
import stat

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_DEPTH = 64
NAMES_A_LINE = 1000


class User(NamedTuple):
    """Who must be able to write: uid, gid, and all groups."""

    uid: int
    gid: int
    groups: frozenset[int]

    def may(self, status: os.stat_result, wanted: int) -> bool:
        """Whether the mode gives this user all of these rights (4 read, 2 write, 1 enter)."""
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in self.groups else 0
        return status.st_mode >> shift & wanted == wanted

    def is_wrong(self, status: os.stat_result) -> bool:
        if stat.S_ISDIR(status.st_mode):
            return not self.may(status, 7)
        return stat.S_ISREG(status.st_mode) and not self.may(status, 6)


class Counted(NamedTuple):
    """What was found wrong; `left`: files with several names, which may be somebody else's elsewhere."""

    directories: int
    files: int
    left: list[str]
    owners: set[tuple[int, int]]


def survey(roots: list[str], only: dict[str, tuple[str, ...]], user: User, path: str | None, say: Callable[[int], None]) -> Counted:
    """Look for what the user cannot write; write the list to `path` (None: only count). `only`: names to enter below a root."""
    directories = files = 0
    left: list[str] = []
    owners: set[tuple[int, int]] = set()
    out = None if path is None else _create(path)
    try:
        group: list[list[Any]] = []
        last = ""
        for seen, (folder, name, status) in enumerate(_walk(roots, only), 1):
            if seen % 4096 == 0:
                say(seen)
            if not user.is_wrong(status):
                continue
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_uid != user.uid:
                left.extend([folder + "/" + name] if len(left) < 100 else [])
                continue
            directories, files = directories + stat.S_ISDIR(status.st_mode), files + stat.S_ISREG(status.st_mode)
            if len(owners) < 10:
                owners.add((status.st_uid, status.st_gid))
            if out is not None:
                if folder != last or len(group) >= NAMES_A_LINE:
                    _line(out, last, group)
                    group, last = [], folder
                group.append([name, status.st_ino, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)])
        if out is not None:
            _line(out, last, group)
    finally:
        if out is not None:
            out.close()
            _sync(path or "")
    return Counted(directories, files, left, owners)


def give(path: str, user: User, primary: Callable[[int], int], say: Callable[[int], None]) -> int:
    """Work the list off: the user gets what is wrong still, with the rights he needs; nobody else gets any. How many were changed."""
    changed = 0

    def one(handle: int, status: os.stat_result, _old: list[Any]) -> None:
        nonlocal changed
        if not user.is_wrong(status) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_uid != user.uid):
            return
        mode = stat.S_IMODE(status.st_mode)
        mode = mode | 0o700 if stat.S_ISDIR(status.st_mode) else (mode | 0o600) & 0o777
        # A group that was given on purpose (the web server's) stays; that of the wrong owner goes with him.
        gid = user.gid if status.st_uid != user.uid and status.st_gid in (0, primary(status.st_uid)) else status.st_gid
        _set(handle, user.uid, gid, mode)
        changed += 1
        if changed % 4096 == 0:
            say(changed)

    _each(path, one)
    return changed


def restore(path: str) -> None:
    """Owner and mode as the list tells."""
    def one(handle: int, status: os.stat_result, old: list[Any]) -> None:
        if [status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)] != old[2:5]:
            _set(handle, old[2], old[3], old[4])

    _each(path, one)


def _walk(roots: list[str], only: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str, os.stat_result]]:
    """(directory, name, status) of the roots and all below them, a directory before what is in it."""
    for root in roots:
        at = disk.place(root)
        try:
            status = os.stat(at.name, dir_fd=at.directory, follow_symlinks=False)
            yield os.path.dirname(root), at.name, status
            if stat.S_ISDIR(status.st_mode):
                handle = os.open(at.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at.directory)
                try:
                    yield from _below(handle, root, status.st_dev, only.get(root), 0)
                finally:
                    os.close(handle)
        finally:
            at.close()


def _below(handle: int, folder: str, device: int, only: tuple[str, ...] | None, depth: int) -> Iterator[tuple[str, str, os.stat_result]]:
    with os.scandir(handle) as entries:
        for entry in entries:
            if only is not None and entry.name not in only:
                continue
            try:
                status = os.stat(entry.name, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone meanwhile
            # Files of an overlay tell the device of their layer; only a directory can be another filesystem.
            if not (stat.S_ISREG(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_dev == device)):
                continue
            yield folder, entry.name, status
            if stat.S_ISDIR(status.st_mode) and depth < MAX_DEPTH:
                try:
                    inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                try:
                    if os.fstat(inner).st_dev == device:
                        yield from _below(inner, folder + "/" + entry.name, device, None, depth + 1)
                finally:
                    os.close(inner)


def _each(path: str, act: Callable[[int, os.stat_result, list[Any]], None]) -> None:
    """Call `act` with an O_PATH handle of each listed file that is still the same one."""
    with gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            told = json.loads(line)
            try:
                at = disk.place(told["in"] + "/.")
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                for old in told["names"]:
                    _one(at.directory, old, act)
            finally:
                at.close()


def _one(directory: int, old: list[Any], act: Callable[[int, os.stat_result, list[Any]], None]) -> None:
    try:
        handle = os.open(old[0], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(handle)
        if status.st_ino == old[1] and (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            act(handle, status, old)
    finally:
        os.close(handle)


def _set(handle: int, uid: int, gid: int, mode: int) -> None:
    """What was opened with O_PATH can be changed only by its name below /proc."""
    os.chown("/proc/self/fd/%d" % handle, uid, gid)
    os.chmod("/proc/self/fd/%d" % handle, mode)


def _create(path: str) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb"), mode="wb")


def _line(out: gzip.GzipFile, folder: str, group: list[list[Any]]) -> None:
    if group:
        out.write(json.dumps({"in": folder, "names": group}).encode() + b"\n")


def _sync(path: str) -> None:
    for name in (path, os.path.dirname(path)):
        handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
