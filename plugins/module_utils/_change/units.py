# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acting on units: the only place that tells systemd to do something (private, may change any time). Containers: `containers.py`.

Sidekiq is drained before it is stopped (`_change/sidekiq.py`). Its unit has TimeoutSec=15 while Sidekiq itself takes 25 s before it pushes
unfinished jobs back (sidekiq, lib/sidekiq.rb `timeout`), so for the stop it is given longer by a drop-in below /run.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import signal
import time

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers, sidekiq
from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.services import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_SECONDS = 90
RELOAD_SECONDS = 60.0
_DROP_IN = "/run/systemd/system/%s.d"
_DROP_IN_NAME = "/zz-fediops-stop.conf"  # behind override.conf, which may have its own idea
_UNITS_OF_TIME = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}


def properties(host: Host, unit: str, *names: str) -> dict[str, str]:
    if containers.is_one(unit):
        return containers.properties(host, unit)
    shown = host.run(["systemctl", "show", "--no-pager", "--property=" + ",".join(names), "--", unit], 30.0)
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
    if containers.is_one(unit):
        containers.start(host, unit)
        return
    with contextlib.suppress(HostError):
        _systemctl("reset-failed", unit)
    _systemctl("start", unit)


def reload(host: Host, role: str, unit: str) -> None:
    """Reload. Of Puma that is a hot restart, done when the workers of before are gone: until then they may still answer."""
    if containers.is_one(unit):
        containers.restart(host, role, unit, lambda _text: None)
        return
    wake(host, unit)
    old = _children(host, unit) if role == "web" else []
    _systemctl("reload-or-restart", unit)
    end = time.monotonic() + RELOAD_SECONDS
    while old and time.monotonic() < end:
        time.sleep(0.2)
        old = [pid for pid in old if unit_of(host, pid) == unit]


def restart(host: Host, role: str, unit: str, say: Callable[[str], None]) -> None:
    if containers.is_one(unit):
        containers.restart(host, role, unit, say)
        return
    if role == "sidekiq":
        stop(host, role, unit, say)
        start(host, unit)
        return
    wake(host, unit)
    with contextlib.suppress(HostError):
        _systemctl("reset-failed", unit)
    _systemctl("restart", unit)


def stop(host: Host, role: str, unit: str, say: Callable[[str], None]) -> None:
    if containers.is_one(unit):
        containers.stop(host, role, unit, say)
        return
    wake(host, unit)
    if role == "sidekiq" and is_active(host, unit):
        with _longer_stop(host, unit):
            sidekiq.drain(host, processes(host, unit), unit, say)
            _systemctl("stop", unit)
        return
    _systemctl("stop", unit)


def processes(host: Host, unit: str) -> list[str]:
    """Process ids of the unit: its control group, whatever wrappers it starts."""
    if containers.is_one(unit):
        return containers.processes(host, unit)
    return [pid for pid in host.names("/proc") if pid.isdigit() and unit_of(host, pid) == unit]


def clear_leftovers(host: Host) -> None:
    """Take away what a run that was killed in the midst of stopping Sidekiq left below /run."""
    for path in glob.glob(_DROP_IN % "*" + _DROP_IN_NAME):
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.rmdir(path.rsplit("/", 1)[0])


def log_command(unit: str) -> str:
    """What shows an admin the log of it."""
    return "docker logs --tail 100 %s" % unit if containers.is_one(unit) else "journalctl -u %s" % unit


def is_frozen(host: Host, unit: str) -> bool:
    """Whether its main process was stopped by a signal (SIGSTOP) or its container paused: it holds its sockets and answers nobody."""
    if containers.is_one(unit) and properties(host, unit, "SubState")["SubState"] == "paused":
        return True
    return _is_stopped(host, properties(host, unit, "MainPID").get("MainPID") or "0")


def _is_stopped(host: Host, pid: str) -> bool:
    return re.sub(r"^.*\) ", "", host.maybe("/proc/%s/stat" % pid, 4096) or "").startswith("T")


def wake(host: Host, unit: str) -> None:
    """What is frozen cannot end itself in good order: let it go on first."""
    if containers.is_one(unit) and properties(host, unit, "SubState")["SubState"] == "paused":
        containers.start(host, unit)
    for pid in processes(host, unit):
        if _is_stopped(host, pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGCONT)


def _children(host: Host, unit: str) -> list[str]:
    pid = properties(host, unit, "MainPID").get("MainPID") or "0"
    return (host.maybe("/proc/%s/task/%s/children" % (pid, pid), 4096) or "").split()


@contextlib.contextmanager
def _longer_stop(host: Host, unit: str):  # type: ignore[no-untyped-def]  # a generator; its type would have to be imported at run time
    if _seconds(properties(host, unit, "TimeoutStopUSec").get("TimeoutStopUSec", "")) >= STOP_SECONDS:
        yield
        return
    folder = _DROP_IN % unit
    os.makedirs(folder, 0o755, exist_ok=True)
    with open(folder + _DROP_IN_NAME, "w", encoding="ascii") as stream:
        stream.write("[Service]\nTimeoutStopSec=%d\n" % STOP_SECONDS)
    try:
        reload_units()
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(folder + _DROP_IN_NAME)
            os.rmdir(folder)
        reload_units()


def _seconds(text: str) -> float:
    """`1min 30s` as systemctl shows it; 0 for what cannot be read."""
    if text == "infinity":
        return float("inf")
    return sum(float(number) * _UNITS_OF_TIME.get(unit, 0) for number, unit in re.findall(r"([\d.]+)([a-z]+)", text))


def _systemctl(*words: str) -> None:
    """HostError with what systemctl said when it did not work."""
    done = act(["systemctl", "--no-ask-password", *words], 150.0)
    if done.rc is None:
        raise HostError("systemctl %s was not done within 150 s" % " ".join(words))
    if done.rc != 0:
        raise HostError("systemctl %s failed: %s" % (" ".join(words), done.output.strip().splitlines()[0][:300] if done.output.strip() else
                                                     "it said nothing"))
