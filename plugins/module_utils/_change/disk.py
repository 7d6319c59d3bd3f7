# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write on the host without being led astray: atomic, durable, through no link that somebody else may turn (private, may change any time).

Root writes here into directories of the app's user too. Every directory is opened component by component without following links, and all
that follows is relative to that open directory: what is swapped meanwhile is not followed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import uuid

from typing import NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

_CONTEXT = "security.selinux"
_ACCESS_LIST = "system.posix_acl_access"
_ASIDE = ".fediops-aside-"
_RENAME_EXCHANGE = 2


class Refused(Exception):
    """A fix does not act, and has touched nothing; the text is one sentence: what is missing and what to do."""


class Attributes(NamedTuple):
    """Owner, mode, time of last change (nanoseconds) and SELinux context (hexadecimal, empty: none) of a path."""

    uid: int
    gid: int
    mode: int
    mtime_ns: int
    context: str


class Place(NamedTuple):
    """An open directory and a name in it."""

    directory: int
    name: str

    def close(self) -> None:
        os.close(self.directory)


def resolved(path: str) -> str:
    """The path without links. A link in the last place counts only when its owner also owns what it points to, or is root."""
    try:
        link = os.lstat(path)
    except FileNotFoundError:
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    real = os.path.realpath(path)
    if stat.S_ISLNK(link.st_mode) and link.st_uid != 0:
        try:
            owner = os.stat(real).st_uid
        except OSError:
            raise Refused("%s is a link to nothing" % path) from None
        if owner != link.st_uid:
            raise Refused("%s is a link of user %d to a file of user %d; it is not followed" % (path, link.st_uid, owner))
    return real


def place(path: str) -> Place:
    """Open the directory of an absolute path that holds no links; OSError when there is none or a link came in between."""
    parts = [part for part in path.split("/") if part]
    handle = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts[:-1]:
        try:
            following = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
        finally:
            os.close(handle)
        handle = following
    return Place(handle, parts[-1])


def attributes_of(path: str) -> Attributes | None:
    """Of the path itself, not of what a link points to; None when there is nothing."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        context = os.getxattr(path, _CONTEXT, follow_symlinks=False).hex()
    except OSError:
        context = ""
    return Attributes(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime_ns, context)


def read(path: str, most: int) -> bytes:
    """Content of a regular file below a path that holds no links: one that somebody puts there meanwhile is not followed."""
    at = place(path)
    try:
        handle = os.open(at.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=at.directory)
    finally:
        at.close()
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise HostError("%s is not a regular file" % path)
        data = stream.read(most + 1)
    if len(data) > most:
        raise HostError("%s is larger than %d bytes" % (path, most))
    return data


def temporary_name() -> str:
    """A name for the new file of `write` until it takes its own."""
    return ".fediops-%s" % uuid.uuid4().hex[:12]


def write(path: str, data: bytes, wanted: Attributes, temporary: str = "") -> None:
    """Make `path` hold `data`: a new file with these attributes takes the name once it is safely on disk. mtime_ns 0: now.

    `temporary`: its name until then, for who must be able to remove it after a kill -9 (`remove_temporary`).
    """
    at = place(path)
    temporary = temporary or temporary_name()
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=at.directory)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                _keep_access_list(at, stream.fileno())
                _dress(stream.fileno(), wanted)
                os.fsync(stream.fileno())
            os.rename(temporary, at.name, src_dir_fd=at.directory, dst_dir_fd=at.directory)
        except BaseException:
            os.unlink(temporary, dir_fd=at.directory)
            raise
        sync_directory(path)
    finally:
        at.close()


def remove_temporary(path: str, temporary: str) -> None:
    """What a `write` of this path that was killed has left beside it, if anything."""
    try:
        at = place(path)
    except FileNotFoundError:
        return
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=at.directory)
    finally:
        at.close()


def dress(path: str, wanted: Attributes) -> None:
    """Give one path its owner, mode and context; never through a link."""
    at = place(path)
    try:
        handle = os.open(at.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at.directory)
    finally:
        at.close()
    try:
        if stat.S_ISLNK(os.fstat(handle).st_mode):
            raise OSError(errno.ELOOP, "is a link", path)
        # A file opened with O_PATH can be changed only by its name below /proc.
        _dress("/proc/self/fd/%d" % handle, wanted._replace(mtime_ns=0))
    finally:
        os.close(handle)


def remove(path: str) -> None:
    """Remove a file or an empty directory."""
    at = place(path)
    try:
        try:
            os.unlink(at.name, dir_fd=at.directory)
        except IsADirectoryError:
            os.rmdir(at.name, dir_fd=at.directory)
    finally:
        at.close()
    sync_directory(path)


def make_directory(path: str, uid: int, gid: int, mode: int) -> None:
    at = place(path)
    try:
        os.mkdir(at.name, 0o700, dir_fd=at.directory)
    finally:
        at.close()
    dress(path, Attributes(uid, gid, mode, 0, ""))


def exchange(path: str, other: str) -> None:
    """Two names of one filesystem change places in one step, so that no reader ever finds nothing there."""
    here, there = place(path), place(other)
    try:
        number = _renameat2(here, there)
        if number not in (0, errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number), path)
        if number:
            # A filesystem that cannot exchange: there is a moment without the name. `exchange_back` knows the one in between.
            os.rename(here.name, _ASIDE + here.name, src_dir_fd=here.directory, dst_dir_fd=here.directory)
            os.rename(there.name, here.name, src_dir_fd=there.directory, dst_dir_fd=here.directory)
            os.rename(_ASIDE + here.name, there.name, src_dir_fd=here.directory, dst_dir_fd=there.directory)
    finally:
        here.close()
        there.close()
    sync_directory(path)


def exchange_back(path: str, other: str, inode: int) -> None:
    """Have `path` be the directory with this inode again, however far an exchange, or this, came."""
    here, there = place(path), place(other)
    aside = Place(here.directory, _ASIDE + here.name)
    try:
        if _inode(aside) == inode:
            if _inode(here):
                os.rename(here.name, there.name, src_dir_fd=here.directory, dst_dir_fd=there.directory)
            os.rename(aside.name, here.name, src_dir_fd=here.directory, dst_dir_fd=here.directory)
        elif _inode(aside):
            if not _inode(here):
                os.rename(there.name, here.name, src_dir_fd=there.directory, dst_dir_fd=here.directory)
            os.rename(aside.name, there.name, src_dir_fd=here.directory, dst_dir_fd=there.directory)
        elif _inode(there) == inode:
            exchange(path, other)
    finally:
        here.close()
        there.close()


def _inode(at: Place) -> int:
    """0: there is nothing."""
    try:
        return os.stat(at.name, dir_fd=at.directory, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return 0


def _renameat2(here: Place, there: Place) -> int:
    """0, or the number of the error."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(here.directory, os.fsencode(here.name), there.directory, os.fsencode(there.name), _RENAME_EXCHANGE)
    return 0 if done == 0 else ctypes.get_errno()


def sync_directory(path: str) -> None:
    handle = os.open(os.path.dirname(path) or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _keep_access_list(at: Place, handle: int) -> None:
    """The access list (setfacl) of the file that is replaced. Its mask shows as the rights of the group, which these would else become."""
    try:
        listed = os.getxattr("/proc/self/fd/%d/%s" % (at.directory, at.name), _ACCESS_LIST, follow_symlinks=False)
    except OSError:
        return
    os.setxattr(handle, _ACCESS_LIST, listed)


def _dress(target: int | str, wanted: Attributes) -> None:
    os.chown(target, wanted.uid, wanted.gid)
    os.chmod(target, wanted.mode)
    if wanted.context:
        try:
            os.setxattr(target, _CONTEXT, bytes.fromhex(wanted.context))
        except OSError as problem:
            if problem.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
    if wanted.mtime_ns:
        os.utime(target, ns=(wanted.mtime_ns, wanted.mtime_ns))
