# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acting on units: the only place that tells systemd to do something (private, may change any time).

Sidekiq is drained before it is stopped: TSTP (it takes no more jobs), wait until it works on none, stop. Its unit has TimeoutSec=15 while
Sidekiq itself wants 25 s to push unfinished jobs back (mastodon.md §1.4), so for the stop it is given longer by a drop-in below /run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

if TYPE_CHECKING:
    from collections.abc import Callable

DRAIN_SECONDS = 60.0
STOP_SECONDS = 90
_DROP_IN = "/run/systemd/system/%s.d"
_DROP_IN_NAME = "/90-fediops-stop.conf"


def properties(host: Host, unit: str, *names: str) -> dict[str, str]:
    shown = host.run(["systemctl", "show", "--no-pager", "--property=" + ",".join(names), "--", unit], 10.0)
    if shown.rc is None:
        raise HostError("systemctl show gave no answer in time")
    lines = shown.out.decode("utf-8", "replace").splitlines()
    return {name: value for name, _equals, value in (line.partition("=") for line in lines)}


def is_active(host: Host, unit: str) -> bool:
    return properties(host, unit, "ActiveState").get("ActiveState") in ("active", "activating", "reloading")


def enabled(host: Host, unit: str) -> str:
    """What systemctl is-enabled says: enabled, disabled, static, masked …; empty when the unit is not there."""
    return properties(host, unit, "UnitFileState").get("UnitFileState", "")


def enable(host: Host, unit: str) -> None:
    _systemctl("enable", unit)


def disable(host: Host, unit: str) -> None:
    _systemctl("disable", unit)


def reload_units() -> None:
    _systemctl("daemon-reload")


def start(host: Host, unit: str) -> None:
    """Start, also what ran into its start limit; returns when systemd says it is up (Type=simple: when it was forked)."""
    with contextlib.suppress(HostError):
        _systemctl("reset-failed", unit)
    _systemctl("start", unit)


def reload(host: Host, unit: str) -> None:
    _systemctl("reload-or-restart", unit)


def restart(host: Host, role: str, unit: str, say: Callable[[str], None]) -> None:
    if role == "sidekiq":
        stop(host, role, unit, say)
        start(host, unit)
        return
    with contextlib.suppress(HostError):
        _systemctl("reset-failed", unit)
    _systemctl("restart", unit)


def stop(host: Host, role: str, unit: str, say: Callable[[str], None]) -> None:
    if role == "sidekiq" and is_active(host, unit):
        with _longer_stop(unit):
            _drain(host, unit, say)
            _systemctl("stop", unit)
        return
    _systemctl("stop", unit)


def _drain(host: Host, unit: str, say: Callable[[str], None]) -> None:
    """No more jobs, and those at work are given a minute to end; what still runs then is pushed back by Sidekiq when it is stopped."""
    pid = int(properties(host, unit, "MainPID").get("MainPID") or 0)
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTSTP)
    end, told = time.monotonic() + DRAIN_SECONDS, False
    # The signal is noticed by a thread of its own, the title is written anew with every heartbeat (5 s, since Sidekiq 7 10 s).
    earliest = time.monotonic() + 1.0
    while time.monotonic() < end:
        busy = busy_jobs(host, pid)
        if busy is None or (busy == 0 and time.monotonic() > earliest):
            return
        if not told and busy:
            say("%s works on %d jobs; waiting at most %d s for them" % (unit, busy, DRAIN_SECONDS))
            told = True
        time.sleep(0.25)


def busy_jobs(host: Host, pid: int) -> int | None:
    """Jobs that a Sidekiq process says it works on: its title is `sidekiq 7.3.2 live [3 of 25 busy]`; None when it says nothing."""
    title = host.maybe("/proc/%d/cmdline" % pid, 4096)
    if not title or "busy]" not in title:
        return None
    words = title.rsplit("[", 1)[-1].split()
    return int(words[0]) if words and words[0].isdigit() else None


@contextlib.contextmanager
def _longer_stop(unit: str):  # type: ignore[no-untyped-def]  # a generator; its type would have to be imported at run time
    folder = _DROP_IN % unit
    os.makedirs(folder, 0o755, exist_ok=True)
    with open(folder + _DROP_IN_NAME, "w", encoding="ascii") as stream:
        stream.write("[Service]\nTimeoutStopSec=%d\n" % STOP_SECONDS)
    try:
        reload_units()
        yield
    finally:
        os.unlink(folder + _DROP_IN_NAME)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        reload_units()


def _systemctl(*words: str) -> None:
    """HostError with what systemctl said when it did not work."""
    done = act(["systemctl", "--no-ask-password", *words], 150.0)
    if done.rc is None:
        raise HostError("systemctl %s was not done within 150 s" % " ".join(words))
    if done.rc != 0:
        raise HostError("systemctl %s failed: %s" % (" ".join(words), done.output.strip().splitlines()[0][:300] if done.output.strip() else
                                                     "it said nothing"))
