# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker for queues that nobody consumes, and exactly one that takes `scheduler` (docs.joinmastodon.org/admin/scaling).

In this order, the first that fits:
1. A unit that takes them is there and does not run: it is started.
2. The one Sidekiq unit names no queue itself and config/sidekiq.yml has them by now: it is restarted (an upgrade was not followed by one).
3. Exactly one Sidekiq unit, with -q of its own: it gets them too. One process stays one process.
4. Else a unit of its own, mastodon-sidekiq-fediops.service, made from a unit that is there (its user, sandbox and environment) with 5
   threads: who split queues over units has sized each of them, and a new one changes none.
`scheduler` more than once on this host: it is taken from all but one, and stays with the unit that takes nothing else, if there is such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers, exec_start, project, project_override, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _sidekiq_unit
from ansible_collections.fediops.mastodon.plugins.module_utils._fix.start_services import RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEDULER = "scheduler"
MAX_CONFIG_BYTES = 65536


def fix(change: Change) -> None:
    told = change.facts.get("sidekiq", {})
    if "unconsumed_queues" not in told:
        raise Refused("Redis did not tell which queues are consumed")
    if not told["processes"]:
        raise Refused("no Sidekiq runs at all: start it first (start_services)")
    missing = list(told["unconsumed_queues"])
    if missing:
        _cover(change, missing)
    if told["schedulers"] > 1:
        _one_scheduler(change)


def _cover(change: Change, missing: list[str]) -> None:
    known = change.units("sidekiq")
    sleeping = [unit for unit in known if unit["active_state"] not in RUNNING and set(unit["queues"]) & set(missing)]
    for unit in sleeping:
        if not unit["intended"]:
            raise Refused("%s takes %s and is switched off: enable and start it, or remove it" % (unit["name"], ", ".join(unit["queues"])))
        change.start(unit["name"])
        missing = [name for name in missing if name not in unit["queues"]]
    running = [unit for unit in known if unit["active_state"] in RUNNING]
    if not missing:
        return
    if not running:
        raise Refused("no Sidekiq unit runs on this host from which one for %s could be made" % ", ".join(missing))
    only = running[0] if len(running) == 1 else None
    if only is not None and not only["queues"] and _configured(change, only, missing) and "concurrency" in only:
        change.restart(only["name"])
    elif only is not None and only["queues"]:
        command = _command_of(change, only)
        # Given already, and not in effect: it was not restarted since.
        absent = [name for name in missing if name not in exec_start.queues(command)]
        _set_command(change, only, exec_start.with_queues(command, absent), "add -q %s to" % " -q ".join(missing))
    elif "compose" in change.install:
        raise Refused("who split queues over containers has sized each of them: give one of them -q %s in the compose file, then docker "
                      "compose up -d" % " -q ".join(missing))
    else:
        _sidekiq_unit.write(change, running[0], missing)


def _command_of(change: Change, unit: dict[str, Any]) -> str:
    return project_override.command_of(unit) if "compose" in change.install else exec_start.command_of(change, unit["name"])


def _set_command(change: Change, unit: dict[str, Any], command: str, advice: str) -> None:
    if "compose" in change.install:
        override = project_override.of_command(change, unit, command, advice)  # before anything is written down
        with project.made_anew(change, [unit]):
            project_override.write(change, override)
    else:
        exec_start.write(change, unit, command)
        change.restart(unit["name"])


def _configured(change: Change, unit: dict[str, Any], missing: list[str]) -> bool:
    if "compose" in change.install:
        text = containers.text(change.host, unit, "config/sidekiq.yml")
    else:
        text = change.host.maybe(change.install["root"] + "/config/sidekiq.yml", MAX_CONFIG_BYTES) or ""
    words = text.replace("[", " ").replace(",", " ").replace("]", " ").replace("-", " ").split()
    return all(name in words for name in missing)


def _one_scheduler(change: Change) -> None:
    running = [unit for unit in change.units("sidekiq") if unit["active_state"] in RUNNING]
    named = [unit for unit in running if SCHEDULER in unit["queues"]]
    every = [unit for unit in running if not unit["queues"]]
    if len(named) + len(every) < 2:
        raise Refused("several processes take the queue scheduler, but only one of this host: take it from the others on their hosts")
    if len(every) > 1:
        raise Refused("%s take all queues; give all but one of them -q for each queue but scheduler" % (
            " and ".join(unit["name"] for unit in every)))
    # One that takes every queue cannot be told to leave one out; else the one that has nothing else to do.
    keeper = every[0] if every else min(named, key=lambda unit: (len(unit["queues"]), unit["name"]))
    for unit in named:
        if unit is keeper:
            continue
        if unit["queues"] == [SCHEDULER]:
            raise Refused("%s takes nothing but scheduler, and %s takes it too: disable and stop one of them" % (
                unit["name"], keeper["name"]))
        if "compose" in change.install and unit["service"] == keeper["service"]:
            raise Refused("several containers of the service %s take the queue scheduler: give it a service of its own" % unit["service"])
        command = _command_of(change, unit)
        kept = exec_start.without_queue(command, SCHEDULER) if SCHEDULER in exec_start.queues(command) else command
        _set_command(change, unit, kept, "take -q %s from" % SCHEDULER)


def check(change: Change) -> str:
    asked = change.step["services"]
    for name in [*asked.get("restart", []), *asked.get("start", [])]:
        state = units.properties(change.host, name, "ActiveState").get("ActiveState")
        if state != "active":
            return "%s is %s; journalctl -u %s says why" % (name, state, name)
    return ""


UNDO: dict[str, Callable[..., None]] = _sidekiq_unit.UNDO
