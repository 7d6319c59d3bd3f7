# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last part of a run: what its steps asked of the services, each unit at most once (private, may change any time)."""

from __future__ import annotations

import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import units
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


def carry_out(host: Host, asked: Asked, install: dict[str, Any], say: Callable[[str], None]) -> list[str]:
    """Do what was asked for and wait until the app answers; sentences about what did not work."""
    roles = {unit["name"]: unit["role"] for unit in install.get("units", [])}
    problems: list[str] = []
    if asked.reload_units:
        _try(problems, units.reload_units)
    names = sorted({*asked.restart, *asked.reload, *asked.start}, key=lambda name: (ORDER.index(roles.get(name, "")), name))
    for name in names:
        role = roles.get(name, "")
        if name in asked.restart and units.is_active(host, name):
            say("restarting %s" % name)
            _try(problems, units.restart, host, role, name, say)
        elif name in asked.start or _failed(host, name):
            if not units.is_active(host, name):
                say("starting %s" % name)
                _try(problems, units.start, host, name)
        elif name in asked.reload and units.is_active(host, name):
            say("reloading %s" % name)
            _try(problems, units.reload, host, name)
    if names and any(roles.get(name) in ("web", "streaming", "sidekiq") for name in names):
        _wait_until_ready(install, say)
    return problems


def _try(problems: list[str], function: Callable[..., None], *arguments: Any) -> None:
    try:
        function(*arguments)
    except HostError as problem:
        problems.append(str(problem))


def _failed(host: Host, name: str) -> bool:
    """One that failed was meant to run, so a restart that was asked for starts it; one that is switched off stays off."""
    return units.properties(host, name, "ActiveState").get("ActiveState") == "failed"


def _wait_until_ready(install: dict[str, Any], say: Callable[[str], None]) -> None:
    """Rails takes its time; who looks before it is up sees a fault that is none. Returns as well when nothing more will come."""
    end = time.monotonic() + READY_SECONDS
    told = False
    while time.monotonic() < end:
        host = Host(time.monotonic() + _ROUND_SECONDS)
        now = dict(install, units=observed.discover(host))
        known = {unit["name"] for unit in install.get("units", [])}
        now["units"] = [unit for unit in now["units"] if unit["name"] in known]
        endpoints = [each for subset in (web, streaming) for each in subset.observe(host, now).get("endpoints", [])]
        starting = [each for each in endpoints if not each["healthy"] and each.get("booting")]
        changing = [unit for unit in now["units"] if unit["active_state"] in ("activating", "deactivating", "reloading")]
        if not starting and not changing:
            return
        if not told:
            say("waiting until the services answer")
            told = True
        time.sleep(0.5)
