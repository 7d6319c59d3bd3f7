# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last part of a run: what its steps asked of the services, each unit at most once (private, may change any time)."""

from __future__ import annotations

import contextlib
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers, sidekiq, units
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import services as observed
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import streaming, web

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Asked

# What others need comes up first.
ORDER = ("database", "redis", "pooler", "web", "sidekiq", "streaming", "proxy", "")
READY_SECONDS = 120.0
_ROUND_SECONDS = 5.0
_CHANGING = ("activating", "deactivating", "reloading")


def carry_out(host: Host, asked: Asked, install: dict[str, Any], say: Callable[[str], None]) -> list[str]:
    """Do what was asked for and wait until the app answers; sentences about what did not work."""
    roles = {unit["name"]: unit["role"] for unit in install.get("units", [])}
    problems: list[str] = []
    units.clear_leftovers(host)
    if asked.reload_units:
        _try(problems, units.reload_units)
        with contextlib.suppress(HostError):
            # A unit that a step has just made is nowhere in what was observed before; without its role it comes last.
            roles = dict({unit["name"]: unit["role"] for unit in observed.discover(host)}, **roles)
    names = sorted({*asked.restart, *asked.reload, *asked.start}, key=lambda name: (ORDER.index(roles.get(name, "")), name))
    touched = list(asked.awaited)
    for name in names:
        try:
            if _one(host, asked, name, roles.get(name, ""), problems, say):
                touched.append(name)
        except HostError as problem:  # a server that is too busy to say how one unit is must not keep the others down
            problems.append("%s: %s" % (name, problem))
    if any(roles.get(name) in ("web", "streaming", "sidekiq") for name in touched):
        wait_until_ready(install, {name: roles.get(name, "") for name in touched}, say)
    return problems


def _one(host: Host, asked: Asked, name: str, role: str, problems: list[str], say: Callable[[str], None]) -> bool:
    """Whether anything was done to the unit."""
    active = units.is_active(host, name)
    # A run that was killed while it drained Sidekiq left one that runs and takes no jobs.
    quiet = active and role == "sidekiq" and name in asked.start and sidekiq.is_quiet(host, units.processes(host, name))
    if active and (name in asked.restart or quiet):
        say("restarting %s" % name)
        _try(problems, units.restart, host, role, name, say)
    elif not active and (name in asked.start or _failed(host, name)):
        say("starting %s" % name)
        _try(problems, units.start, host, name)
    elif active and name in asked.reload:
        say("reloading %s" % name)
        _try(problems, units.reload, host, role, name)
    else:
        return False
    return True


def _try(problems: list[str], function: Callable[..., None], *arguments: Any) -> None:
    try:
        function(*arguments)
    except (HostError, OSError) as problem:
        problems.append(str(problem))


def _failed(host: Host, name: str) -> bool:
    """One that failed was meant to run, so a restart that was asked for starts it; one that is switched off stays off."""
    return units.properties(host, name, "ActiveState").get("ActiveState") == "failed"


def wait_until_ready(install: dict[str, Any], touched: dict[str, str], say: Callable[[str], None]) -> None:
    """Rails takes its time; who looks before it is up sees a fault that is none. Returns as well when nothing more will come."""
    end = time.monotonic() + READY_SECONDS
    restarts: dict[str, int] = {}
    told = False
    while time.monotonic() < end:
        try:
            waiting = _waiting_for(install, touched, restarts)
        except HostError:  # busy with starting
            waiting = list(touched)
        if not waiting:
            return
        if not told:
            say("waiting until %s" % (", ".join(sorted(set(waiting))) + (" answers" if len(set(waiting)) == 1 else " answer")))
            told = True
        time.sleep(0.5)


def _waiting_for(install: dict[str, Any], touched: dict[str, str], restarts: dict[str, int]) -> list[str]:
    """Units that are not up yet and may still come; `restarts`: how often systemd had started each when it was first looked at."""
    host = Host(time.monotonic() + _ROUND_SECONDS)
    every = observed.discover(host) + (containers.refreshed(host, install) if "compose" in install else [])
    now = dict(install, units=[unit for unit in every if unit["name"] in touched])
    for unit in now["units"]:
        restarts.setdefault(unit["name"], unit["restarts"])
    # What systemd has had to start a second time since does not come up.
    hopeful = [unit for unit in now["units"] if unit["restarts"] <= restarts[unit["name"]] + 1]
    coming = {unit["name"] for unit in hopeful if unit["active_state"] == "active"}
    waiting = [unit["name"] for unit in hopeful if unit["active_state"] in _CHANGING]
    # Any answer, an error too, comes from one that is up.
    waiting += [each["unit"] for subset in (web, streaming) for each in subset.observe(host, now).get("endpoints", [])
                if each.get("unit") in coming and "status" not in each]
    return waiting + [name for name in coming if touched[name] == "sidekiq" and not sidekiq.is_up(host, units.processes(host, name))]
