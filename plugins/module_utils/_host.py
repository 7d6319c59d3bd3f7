# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one door to the operating system of the managed host (private, may change any time).

Nothing else in this collection starts a process, opens a file or connects a socket there. Every read and every wait is bounded.
Standard library only, Python 3.8 and newer; writes nothing, needs no temporary file.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import grp
import os
import pwd
import socket
import stat
import subprocess
import time

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._journal_command import journal_arguments
from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import CHUNK_BYTES, ByteStream, Completed, collect, end, parts
from ansible_collections.fediops.mastodon.plugins.module_utils._stored import Stored, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_READ_BYTES = 1 << 20
MAX_OUTPUT_BYTES = 4 << 20

# Tools must answer in one language, and a pager or a colour must never get between us and them.
TOOL_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0",
                    "SYSTEMD_PAGER": "", "HOME": "/"}

LOG_GROUPS = ("adm", "systemd-journal")  # members may read logs and no more, so they can be advised


class HostError(Exception):
    """Something could not be read; the text is one sentence for the reader of the report."""


class HostDenied(HostError):
    """It is there, but the user we run as may not look; the text says what would allow it."""


class Owner(NamedTuple):
    """A user of the host: name, numbers and home, from the password database."""

    user: str
    uid: int
    gid: int
    home: str
    shell: str


def sentence(problem: OSError, what: str) -> HostError:
    """Turn an OSError into the one sentence of a HostError; permission problems become HostDenied."""
    if problem.errno in (errno.EACCES, errno.EPERM):
        return denied(what)
    return HostError("%s could not be read: %s" % (what, os.strerror(problem.errno) if problem.errno else problem))


def denied(what: str, path: str = "") -> HostDenied:
    """The one sentence of a HostDenied; `path` is where `what` lies, unless it says so itself."""
    group = _log_group(path or what)
    return HostDenied("%s may not be read by user %s; run with become: true (as root)%s"
                      % (what, current_user(), " or make that user a member of the group %s" % group if group else ""))


def _log_group(path: str) -> str:
    """The group of LOG_GROUPS whose members may pass where we could not: the path, or the last folder on the way that can be seen."""
    while path.startswith("/"):
        try:
            status = os.stat(path)
        except OSError:
            path = os.path.dirname(path) if path != "/" else ""
            continue
        needed = stat.S_IRGRP | (stat.S_IXGRP if stat.S_ISDIR(status.st_mode) else 0)
        try:
            name = grp.getgrgid(status.st_gid).gr_name
        except KeyError:
            return ""
        return name if name in LOG_GROUPS and status.st_mode & needed == needed else ""
    return ""


def current_user() -> str:
    """Name of the user this process acts as, or its number."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


class Host:
    """The host as one subset sees it: everything ends at deadline (time.monotonic())."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def left(self, most: float) -> float:
        """Seconds that may still be waited for one thing, at most `most`; half a second stays for the answer itself."""
        return max(0.05, min(most, self.deadline - time.monotonic() - 0.5))

    # -- files ------------------------------------------------------------------------------------------------

    def read(self, path: str, max_bytes: int = MAX_READ_BYTES) -> bytes:
        """The first max_bytes of a regular or proc file; HostError when it is not there or is something else."""
        handle = self._open_regular(path)
        try:
            pieces = []
            room = max_bytes
            while room > 0:
                part = os.read(handle, min(room, CHUNK_BYTES))
                if not part:
                    break
                pieces.append(part)
                room -= len(part)
            return b"".join(pieces)
        except OSError as problem:
            raise sentence(problem, path) from None
        finally:
            os.close(handle)

    def text(self, path: str, max_bytes: int = MAX_READ_BYTES) -> str:
        """Like read, as text; bytes that are not UTF-8 become the replacement character."""
        return self.read(path, max_bytes).decode("utf-8", "replace")

    def maybe(self, path: str, max_bytes: int = MAX_READ_BYTES) -> str | None:
        """Like text, None when the file cannot be read for whatever reason."""
        try:
            return self.text(path, max_bytes)
        except HostError:
            return None

    def tail(self, path: str, max_bytes: int) -> ByteStream:
        """The last max_bytes of a file, in chunks from the older end."""
        stream = ByteStream(iter(()))

        def chunks() -> Iterator[bytes]:
            try:
                with self.stored(path, 0, self.deadline) as file:
                    begin = max(0, file.size - max_bytes)
                    if begin:
                        stream.truncated, stream.reason = True, "only the last %d of %d bytes were read" % (max_bytes, file.size)
                    for part in file.chunks(begin):
                        yield part
                        if time.monotonic() > self.deadline:
                            stream.truncated, stream.reason = True, "the time was up"
                            return
                    if file.reason:
                        stream.truncated, stream.reason = True, file.reason
            except HostError as problem:
                stream.truncated, stream.reason = True, str(problem)

        stream._chunks = chunks()
        return stream

    @contextlib.contextmanager
    def stored(self, path: str, keep_bytes: int, deadline: float) -> Iterator[Stored]:
        """A file to be read anywhere in it; of a packed one the last ``keep_bytes`` of what is in it, with 0 as it is."""
        handle = self._open_regular(path)
        try:
            yield opened(handle, keep_bytes, min(deadline, self.deadline))
        except OSError as problem:
            raise sentence(problem, path) from None
        finally:
            os.close(handle)

    def _open_regular(self, path: str) -> int:
        """Open for reading what is a regular file. Looked at before it is opened: opening alone can hang (FIFO) or act (watchdog)."""
        try:
            name, below = self._at(path)
            looked = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=below)
            try:
                if not stat.S_ISREG(os.fstat(looked).st_mode):
                    raise HostError("%s is not a regular file" % path)
                name, below = self._at("/proc/self/fd/%d" % looked)
                return os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=below)
            finally:
                os.close(looked)
        except OSError as problem:
            raise sentence(problem, path) from None

    def _at(self, path: str) -> tuple[str, int | None]:
        return path, None  # who looks into a container (`_inside.py`) holds /proc open

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(path)

    def is_denied(self, path: str) -> bool:
        """Whether looking at the path fails for lack of permission (rather than because it is not there)."""
        try:
            os.stat(path)
        except OSError as problem:
            return problem.errno in (errno.EACCES, errno.EPERM)
        return False

    def is_executable(self, path: str) -> bool:
        return os.path.isfile(path) and os.access(path, os.X_OK)

    def may_write(self, path: str) -> bool:
        """Whether the user this process acts as may create files in the directory; ACLs and read-only mounts count."""
        return os.access(path, os.W_OK | os.X_OK)

    def stat(self, path: str, follow: bool = True) -> os.stat_result | None:
        try:
            return os.stat(path) if follow else os.lstat(path)
        except OSError:
            return None

    def real(self, path: str) -> str:
        return os.path.realpath(path)

    def link(self, path: str) -> str:
        """Target of a symbolic link, empty when it cannot be read."""
        try:
            return os.readlink(path)
        except OSError:
            return ""

    def names(self, path: str, most: int = 10000) -> list[str]:
        """Names in a directory, at most `most`; empty when it cannot be listed."""
        try:
            return self.listing(path, most)
        except HostError:
            return []

    def listing(self, path: str, most: int = 10000) -> list[str]:
        """The same, HostError when it is there but cannot be listed."""
        found: list[str] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    found.append(entry.name)
                    if len(found) >= most:
                        break
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as problem:
            raise sentence(problem, path) from None
        return found

    def glob(self, pattern: str) -> list[str]:
        return sorted(glob.glob(pattern))

    def space(self, path: str) -> os.statvfs_result | None:
        try:
            return os.statvfs(path)
        except OSError:
            return None

    def usage(self, path: str, until: float, most: int = 2000000) -> tuple[int, bool]:
        """(bytes on disk below path on its own filesystem, whether all of it was counted before `until` and within `most` entries)."""
        total, seen = 0, 0
        waiting = [path]
        top = self.stat(path)
        while waiting:
            try:
                with os.scandir(waiting.pop()) as entries:
                    for entry in entries:
                        status = entry.stat(follow_symlinks=False)
                        seen += 1
                        if seen > most or (seen % 256 == 0 and time.monotonic() > until):
                            return total, False
                        # Files of an overlay tell the device of their layer; only a directory can be another filesystem.
                        if stat.S_ISDIR(status.st_mode):
                            if top is None or status.st_dev != top.st_dev:
                                continue
                            waiting.append(entry.path)
                        total += status.st_blocks * 512
            except OSError:
                continue
        return total, True

    # -- users ------------------------------------------------------------------------------------------------

    def user(self, uid_or_name: int | str) -> Owner | None:
        try:
            entry = pwd.getpwuid(uid_or_name) if isinstance(uid_or_name, int) else pwd.getpwnam(uid_or_name)
        except KeyError:
            return None
        return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)

    def owner(self, described: dict[str, Any]) -> Owner:
        """The user that the subset install describes; one that the host has no name for (991 of an image) has its number as name."""
        shell = (self.user(described["user"]) or Owner("", 0, 0, "", "")).shell
        return Owner(described["user"], described["uid"], described["gid"], described["home"], shell)

    def become(self, owner: Owner) -> None:
        """Be that user for the rest of this process (a subset is a process of its own, see _side_by_side)."""
        if os.geteuid() == owner.uid:
            return
        if os.geteuid() != 0:
            raise HostDenied("only root can look as user %s; run with become: true" % owner.user)
        drop_to(owner)

    def group_name(self, gid: int) -> str:
        try:
            return grp.getgrgid(gid).gr_name
        except KeyError:
            return str(gid)

    # -- commands ---------------------------------------------------------------------------------------------

    def run(self, argv: Sequence[str], seconds: float = 5.0, max_bytes: int = MAX_OUTPUT_BYTES, owner: Owner | None = None,
            environment: dict[str, str] | None = None) -> Completed:
        """Run a command (argument list, never a shell line), bounded in time and output; HostError when it cannot be started."""
        process = self._start(argv, owner, environment, subprocess.PIPE)
        out, err, truncated, late = collect(process, self.left(seconds), max_bytes)
        return Completed(None if late else process.returncode, out, err, truncated)

    def stream(self, argv: Sequence[str], deadline: float, max_bytes: int) -> ByteStream:
        """Standard output of a command in chunks; the command is killed at the deadline or behind max_bytes."""
        stream = ByteStream(iter(()))

        def chunks() -> Iterator[bytes]:
            try:
                process = self._start(argv, None, None, subprocess.DEVNULL)
            except HostError as problem:
                stream.truncated, stream.reason = True, str(problem)
                return
            room = max_bytes
            try:
                for part in parts(process, deadline):
                    room -= len(part)
                    yield part
                    if room <= 0:
                        stream.truncated, stream.reason = True, "only the first %d bytes were read" % max_bytes
                        return
                if time.monotonic() >= deadline:
                    stream.truncated, stream.reason = True, "the time was up"
            finally:
                end(process)

        stream._chunks = chunks()
        return stream

    def journal(self, units: Iterable[str], since_epoch: float, lines: int, deadline: float, max_bytes: int,
                options: Sequence[str] = ()) -> ByteStream:
        """The newest `lines` entries of and about the units since then, and the kernel's, in the journal's export format."""
        places = [place for place in ("/var/log/journal", "/run/log/journal") if os.path.isdir(place)]
        files = [path for place in places for path in glob.glob(place + "/*/system.journal")]
        if os.geteuid() != 0 and not any(os.access(path, os.R_OK) for path in files):
            # journalctl itself would answer with silence, which looks like a server without errors.
            raise denied("the journal", files[0] if files else "")
        return self.stream(journal_arguments(units, since_epoch, lines, options), deadline, max_bytes)

    def _start(self, argv: Sequence[str], owner: Owner | None, environment: dict[str, str] | None, stderr: int) -> subprocess.Popen[bytes]:
        def prepare() -> None:
            if owner is not None and os.geteuid() != owner.uid:
                drop_to(owner)

        try:
            # run_command of AnsibleModule has no deadline and no limit of output.
            return subprocess.Popen(  # pylint: disable=ansible-bad-function
                list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, cwd="/",
                env=dict(TOOL_ENVIRONMENT, **(environment or {})), preexec_fn=prepare)  # noqa: PLW1509  a subset has no threads
        except FileNotFoundError:
            raise HostError("command %s is not installed" % argv[0]) from None
        except (OSError, subprocess.SubprocessError) as problem:
            raise HostError("command %s could not be started: %s" % (argv[0], problem)) from None

    # -- sockets ----------------------------------------------------------------------------------------------

    def connect(self, address: str | tuple[str, int], seconds: float = 4.0) -> socket.socket:
        """Connect to a Unix socket (path) or (host, port); OSError as the system gives it, socket.timeout when nobody answers."""
        wait = self.left(seconds)
        if isinstance(address, str):
            unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            unix.settimeout(wait)
            try:
                unix.connect(address)
            except OSError:
                unix.close()
                raise
            return unix
        return socket.create_connection(address, timeout=wait)


def drop_to(owner: Owner) -> None:
    """Give up root for good; the order matters, the groups go first."""
    os.initgroups(owner.user, owner.gid)
    os.setgid(owner.gid)
    os.setuid(owner.uid)
