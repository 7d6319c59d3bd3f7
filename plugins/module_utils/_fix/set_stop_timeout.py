# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""More time for a Sidekiq that is killed at a stop before it has given its unfinished jobs back to Redis.

A unit gets TimeoutStopSec= and is not restarted: systemd asks for the time when it stops a unit. A container gets stop_grace_period by an
override file of ours and is made anew, for the engine keeps the time with the container; it is given the time at this stop already.

Option: `seconds` (60; at least Sidekiq's own timeout and five more).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers, drop_in, project, project_override, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.services import time_span

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPIC = "stop-timeout"
MARGIN_SECONDS = 5  # after its own timeout Sidekiq still writes the jobs to Redis
LEAST_SECONDS, MOST_SECONDS = 10, 3600


def fix(change: Change) -> None:
    asked = _app.number_of(change, "seconds", 60, LEAST_SECONDS, MOST_SECONDS)
    short = [unit for unit in _used(change) if unit["stop_short"]]
    if "compose" in change.install:
        _contained(change, short, asked)
        return
    for unit in short:
        drop_in.refuse_when_outdone(change, unit["name"], TOPIC, r"\s*Timeout(?:Stop)?Sec\s*=", "TimeoutStopSec")
        drop_in.write(change, unit["name"], TOPIC, ["TimeoutStopSec=%d" % _enough(unit, asked)])


def _used(change: Change) -> Iterator[dict[str, Any]]:
    return (unit for unit in change.units("sidekiq") if unit["intended"] or "pid" in unit)


def _enough(unit: dict[str, Any], asked: int) -> int:
    return max(asked, int(unit["shutdown_timeout_seconds"]) + MARGIN_SECONDS)


def _contained(change: Change, short: list[dict[str, Any]], asked: int) -> None:
    if not short:
        return
    services: dict[str, int] = {}
    for unit in short:
        services[unit["service"]] = max(services.get(unit["service"], 0), _enough(unit, asked))
    by_hand = "%s: %ds for %s in the compose file, then docker compose up -d" % (
        project_override.STOP, max(services.values()), " and ".join(sorted(services)))
    override = project_override.of_stop(change, services, by_hand)  # before anything is written down
    # One that does not run has nothing to lose at its stop, and who stopped it may want it so.
    running = [unit for unit in short if "pid" in unit]
    needed = max([project.STOP_SECONDS, *(_enough(unit, 0) for unit in running)])
    with project.made_anew(change, running, needed):
        project_override.write(change, override)


def check(change: Change) -> str:
    for unit in _used(change):
        if "compose" in change.install:
            if "pid" not in unit:
                continue
            allowed = containers.unit(change.host, unit["name"])["stop_timeout_seconds"]
        else:
            allowed = time_span(units.properties(change.host, unit["name"], "TimeoutStopUSec").get("TimeoutStopUSec", ""))
        if allowed is not None and allowed <= unit["shutdown_timeout_seconds"]:
            return "%s is still killed after %d s" % (unit["name"], allowed)
    return ""
