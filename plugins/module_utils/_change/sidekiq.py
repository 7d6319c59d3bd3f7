# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have Sidekiq take no more jobs, and wait until it works on none (private, may change any time).

What it does is told by its title, `sidekiq 7.3.2 live [3 of 25 busy] stopping`, written anew with every heartbeat (5 s, since Sidekiq 7
10 s; lib/sidekiq/launcher.rb). Before the first one its signal handlers may not be set, and TSTP would freeze it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

# Jobs at work are given a minute; what still runs then is pushed back to Redis by Sidekiq itself when it is stopped.
DRAIN_SECONDS = 60.0
_TITLE = re.compile(r"^sidekiq \S+ .*\[(\d+) of \d+ busy\]\s*(stopping)?")


class Title(NamedTuple):
    """Jobs that are worked on, and whether no more are taken."""

    busy: int
    quiet: bool


def title(host: Host, pid: str) -> Title | None:
    """None: not a Sidekiq, or one that is not up yet."""
    found = _TITLE.match((host.maybe("/proc/%s/cmdline" % pid, 4096) or "").rstrip("\0 "))
    return Title(int(found.group(1)), bool(found.group(2))) if found else None


def is_up(host: Host, pids: Iterable[str]) -> bool:
    return any(title(host, pid) for pid in pids)


def is_quiet(host: Host, pids: Iterable[str]) -> bool:
    """Whether one takes no jobs any more; it never will again, so only a restart helps."""
    return any(each is not None and each.quiet for each in (title(host, pid) for pid in pids))


def drain(host: Host, pids: Iterable[str], unit: str, say: Callable[[str], None]) -> None:
    """TSTP, then wait for a title that was written since and says that no job is worked on."""
    waiting = [pid for pid in pids if title(host, pid)]
    for pid in waiting:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTSTP)
    end, told = time.monotonic() + DRAIN_SECONDS, False
    while time.monotonic() < end:
        titles = [title(host, pid) for pid in waiting]
        # A title without `stopping` is older than the signal and says nothing of the jobs taken since.
        if all(each is None or (each.quiet and each.busy == 0) for each in titles):
            return
        busy = sum(each.busy for each in titles if each is not None)
        if busy and not told:
            say("%s works on %d jobs; waiting at most %d s for them" % (unit, busy, DRAIN_SECONDS))
            told = True
        time.sleep(0.25)
