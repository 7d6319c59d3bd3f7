# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have Sidekiq take no more jobs, and wait until it works on none (private, may change any time).

What it does is told by its title, `sidekiq 7.3.2 live [3 of 25 busy] stopping`, written anew with every heartbeat (5 s, since Sidekiq 7
10 s; lib/sidekiq/launcher.rb). Before the first one its signal handlers may not be set, and TSTP would freeze it. A title is cut where
the command line that it is written over ends: `stopping` may be an `s` only, or be missing.
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
# After this time every title has been written anew.
HEARTBEAT_SECONDS = 11.0
_TITLE = re.compile(r"^sidekiq \d[\w.]* ")
_BUSY = re.compile(r"\[(\d+) of (?:\d+ busy\]\s*(s)?)?")


class Title(NamedTuple):
    """Jobs that are worked on (None: that is cut off), and whether no more are taken."""

    busy: int | None
    quiet: bool


def title(host: Host, pid: str) -> Title | None:
    """None: not a Sidekiq, or one that is not up yet."""
    text = (host.maybe("/proc/%s/cmdline" % pid, 4096) or "").rstrip("\0 ")
    if not _TITLE.match(text):
        return None
    found = _BUSY.search(text)
    return Title(int(found.group(1)), bool(found.group(2))) if found else Title(None, False)


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
    sent, told = time.monotonic(), False
    while time.monotonic() < sent + DRAIN_SECONDS:
        titles = [each for each in (title(host, pid) for pid in waiting) if each is not None]
        # A title that is older than the signal says nothing of the jobs taken since.
        fresh = time.monotonic() > sent + HEARTBEAT_SECONDS
        if all((each.quiet or fresh) and not each.busy for each in titles):
            return
        busy = sum(each.busy or 0 for each in titles)
        if busy and not told:
            say("%s works on %d jobs; waiting at most %d s for them" % (unit, busy, DRAIN_SECONDS))
            told = True
        time.sleep(0.25)
