# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker: a process of its own that goes on when the connection is lost or the controller is killed (private, may change any time).

It holds the lock of the host with flock, so the kernel frees it when the worker dies, however it dies; /run is empty after a reboot.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
import traceback

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK_FOLDER = "/run/fediops.mastodon"
POLL_SECONDS = 0.1


class Busy(Exception):
    """Another run works on this host; the text says whose it is and since when."""


def lock(run_id: str, controller: str) -> int:
    """Take the lock of this host; the handle keeps it, also in a forked process. Busy when somebody alive has it."""
    handle = _open()
    if not _take(handle):
        told = os.pread(handle, 4096, 0)
        os.close(handle)
        raise Busy(_whose(told))
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps({"run": run_id, "controller": controller, "pid": os.getpid(), "since_epoch": time.time()}).encode(), 0)
    return handle


def is_locked() -> bool:
    """Whether a run works on this host right now."""
    handle = _open()
    try:
        return not _take(handle)
    finally:
        os.close(handle)


def _open() -> int:
    if not os.path.isdir(LOCK_FOLDER):
        os.mkdir(LOCK_FOLDER, 0o700)
    return os.open(LOCK_FOLDER + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def launch(handle: int, journal: Journal, job: Callable[[Journal], None]) -> None:
    """Do the job in a process of its own, which takes the lock over from this one."""
    child = os.fork()
    if child:
        os.close(handle)
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    code = 0
    try:
        journal.run["pid"] = os.getpid()
        journal.save()
        job(journal)
    except BaseException as problem:  # noqa: BLE001  nobody else would ever hear of it
        code = 1
        journal.run["error"] = "%s: %s" % (type(problem).__name__, problem)
        journal.run["error_trace"] = traceback.format_exc()[-4000:]
        try:
            journal.save()
        except OSError:
            pass
    os._exit(code)


def follow(run_id: str, seconds: float) -> dict[str, Any] | None:
    """run.json once its worker is done, or as it is after `seconds`; `working` tells which. None: there is no such run."""
    end = time.monotonic() + seconds
    while True:
        working = is_locked()
        journal = Journal.load(run_id)
        if journal is None:
            return None
        if not working or time.monotonic() > end:
            journal.lease()
            return dict(journal.run, working=working)
        time.sleep(POLL_SECONDS)


def _whose(told: bytes) -> str:
    try:
        holder = json.loads(told)
        minutes = max(0.0, time.time() - float(holder["since_epoch"])) / 60
        return "run %s of %s works on this host since %.0f min (process %d)" % (
            str(holder["run"])[:60], str(holder["controller"])[:80], minutes, int(holder["pid"]))
    except (ValueError, KeyError, TypeError):
        return "another run works on this host"
