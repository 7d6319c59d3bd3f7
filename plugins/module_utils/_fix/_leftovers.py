# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that may outlive their worker: marked in their environment, and found again by that (private, may change any time).

A worker that is killed leaves its command behind, in a session of its own. The mark is written down before the command is started.
"""

from __future__ import annotations

import os
import signal
import time
import uuid

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "FEDIOPS_MASTODON_ACT"
END_SECONDS = 10.0


def new_mark() -> str:
    return uuid.uuid4().hex


def marked(mark: str) -> dict[str, str]:
    """What to add to the environment of the command."""
    return {_NAME: mark}


def processes(mark: str) -> list[int]:
    """Processes of this host that carry the mark."""
    host = Host(time.monotonic() + 3600.0)
    wanted = "%s=%s" % (_NAME, mark)
    return [int(pid) for pid in host.names("/proc", 100000)
            if pid.isdigit() and wanted in (host.maybe("/proc/%s/environ" % pid, 1 << 18) or "").split("\0")]


def wait_for(mark: str, seconds: float, say: Callable[[str], None], what: str) -> None:
    """Wait until they end by themselves; HostError when they do not."""
    end, told = time.monotonic() + seconds, False
    while True:
        left = processes(mark)
        if not left:
            return
        if time.monotonic() > end:
            raise HostError("%s of an interrupted run still works (process %d)" % (what, left[0]))
        if not told:
            say("waiting for %s of an interrupted run (process %d)" % (what, left[0]))
            told = True
        time.sleep(0.5)


def kill(mark: str) -> None:
    """End them."""
    end = time.monotonic() + END_SECONDS
    while time.monotonic() < end:
        left = processes(mark)
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)
    raise HostError("process %d of an interrupted run does not end" % processes(mark)[0])
