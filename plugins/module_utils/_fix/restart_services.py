# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart only what is faulty.

Without the option `roles`: what runs and does not answer; while a database or Redis hangs only that, for what needs it hangs with it. With
it (`web,redis`): of these roles what does not answer, or all that runs of a role when every unit of it answers (a known issue saw what its
health does not tell: code, assets or settings newer than the process).
A store that was frozen (SIGSTOP) is woken and not restarted: nothing is lost that way. A Redis that hangs and writes nothing to disk is
refused: all queued jobs would end with it.
A web process that answers is hot restarted (systemctl reload): with `preload_app!` Puma then loads code, assets and .env.production anew
while the socket stays open; one that hangs, or whose unit was changed, is restarted. Sidekiq is drained by the services step.
"""

from __future__ import annotations

import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix.start_services import ROLES, RUNNING, roles_of

# A Sidekiq that started has its first heartbeat in Redis within this time, also where Rails loads slowly.
HEARTBEAT_SECONDS = 60.0
# What a server that hangs looks like from outside; `refused` by one that runs is a matter of addresses and not cured by a restart.
HANGS = ("timeout", "no_socket")
STORES = ("database", "redis", "pooler")
LOCAL = ("localhost", "127.", "[::1]", "::1", "/")


def fix(change: Change) -> None:
    asked = roles_of(change)
    stores_hang = False
    for role in asked or ROLES:
        known = [unit for unit in change.units(role) if unit["active_state"] in (*RUNNING, "failed") and unit["intended"]]
        hanging = _hanging(change, role, known)
        if role in STORES:
            stores_hang = stores_hang or bool(hanging)
        elif stores_hang and not asked:
            continue
        for unit in hanging or (known if asked else []):
            if role in STORES and units.is_frozen(change.host, unit["name"]):
                if change.before("woken", "unit %s, frozen by a signal, goes on" % unit["name"]):
                    units.wake(change.host, unit["name"])
                change.cannot_undo("a process that goes on is left as it is")
                continue
            if role == "redis" and _keeps_nothing(change, unit):
                raise Refused("%s hangs and keeps nothing on disk (save \"\" and appendonly no): a restart would end all queued jobs; find "
                              "out what it hangs on (redis-cli --latency, %s) before you restart it yourself" % (
                                  unit["name"], units.log_command(unit["name"])))
            if role == "web" and not hanging and _reload_is_enough(change, unit):
                change.reload(unit["name"])
            else:
                change.restart(unit["name"])


def _hanging(change: Change, role: str, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    facts = change.facts
    failed = [unit for unit in known if unit["active_state"] == "failed"]
    if role in ("web", "streaming"):
        silent = {each.get("unit") for each in facts.get(role, {}).get("endpoints", []) if not each["healthy"] and not each.get("booting")}
        return [unit for unit in known if unit["name"] in silent or unit in failed]
    if role == "sidekiq":
        return [unit for unit in known if unit in failed or _without_heartbeat(change, unit)]
    if role == "database":
        answers = [facts.get("database", {})]
    elif role == "redis":
        answers = list(facts.get("redis", {}).get("uses", {}).values())
    else:
        return failed
    # A container's name is that of its service, and its address one of a network of this host.
    local = (*LOCAL, *("%s:" % unit[key] for unit in known for key in ("service", "name") if unit.get(key)))
    hangs = any(not each.get("reachable", True) and each.get("error", {}).get("kind") in HANGS
                and str(each.get("address", "")).startswith(local) for each in answers)
    frozen = [unit for unit in known if units.is_frozen(change.host, unit["name"])]
    return failed or frozen or (known if hangs else [])


def _keeps_nothing(change: Change, unit: dict[str, Any]) -> bool:
    """Whether the configuration file that this Redis was started with switches off both ways to keep data; its last word counts."""
    path = next((word for word in unit["_argv"][1:] if word.endswith(".conf")), "")
    saves, appends = True, False
    text = containers.text(change.host, unit, path) if "_container" in unit else change.host.maybe(path, 1 << 20) or ""
    # Of the command line too: --save "" --appendonly yes.
    told = "".join("\n" + word[2:] if word.startswith("--") else " " + (word or '""') for word in unit["_argv"][1:])
    for line in (text + "\n" + told).splitlines():
        words = line.split()
        if len(words) > 1 and words[0].lower() == "save":
            saves = words[1] not in ('""', "''")
        elif len(words) > 1 and words[0].lower() == "appendonly":
            appends = words[1].lower() == "yes"
    return not saves and not appends


def _without_heartbeat(change: Change, unit: dict[str, Any]) -> bool:
    """It runs for long enough and Redis, which answers, knows nothing of it; or it takes no jobs any more (TSTP) and never will."""
    sidekiq = change.facts.get("sidekiq", {})
    if "processes" not in sidekiq or "pid" not in unit:
        return False
    pids = units.processes(change.host, unit["name"])
    if "_container" in unit:  # it counts its processes itself, and has a name of its own
        own = [each for each in sidekiq["processes"] if each["hostname"] == unit["_hostname"]]
    else:
        own = [each for each in sidekiq["processes"] if str(each["pid"]) in pids and each["hostname"] == change.facts["host"]["name"]]
    if own:
        return any(each["quiet"] for each in own)
    return bool(time.time() - unit.get("since_epoch", 0.0) > HEARTBEAT_SECONDS)


def _reload_is_enough(change: Change, unit: dict[str, Any]) -> bool:
    """A hot restart keeps the environment that systemd gave: not enough when the unit has changed since, or knows no reload."""
    shown = units.properties(change.host, unit["name"], "NeedDaemonReload", "CanReload", "ActiveState")
    return (shown.get("NeedDaemonReload"), shown.get("CanReload"), shown.get("ActiveState")) == ("no", "yes", "active")


def check(change: Change) -> str:
    asked = change.step["services"]
    for name in [*asked.get("restart", []), *asked.get("reload", [])]:
        shown = units.properties(change.host, name, "ActiveState", "SubState", "Result")
        if shown.get("ActiveState") != "active":
            return "%s is %s (%s, result %s); %s says why" % (
                name, shown.get("ActiveState"), shown.get("SubState"), shown.get("Result"), units.log_command(name))
    return ""
