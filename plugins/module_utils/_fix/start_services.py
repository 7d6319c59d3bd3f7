# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start what should run, and have it started at boot.

Without the option `roles`: the units that are meant to run and do not. With it (`web,sidekiq`): those of these roles; where none of a role
runs or is meant to, all of the role, because a known issue says that it is missed. The services step brings dependencies up first. Of
streaming since 4.2 the real units (mastodon-streaming@4000) are started: its shim says nothing of a process.
"""

from __future__ import annotations

import re

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import services

ROLES = ("database", "redis", "pooler", "web", "sidekiq", "streaming", "proxy")
RUNNING = ("active", "activating", "reloading")


def fix(change: Change) -> None:
    asked = roles_of(change)
    wanted: list[dict[str, Any]] = []
    for role in asked or ROLES:
        wanted += _of_role(change, role, bool(asked))
    for unit in wanted:
        if unit["load_state"] == "masked" or unit["enabled"].startswith("masked"):
            raise Refused(_masked(unit["name"]))
    for unit in wanted:
        if not starts_at_boot(change.host, unit["name"]):
            change.enable(unit["name"])
        change.start(unit["name"])


def roles_of(change: Change) -> list[str]:
    """The option `roles`, a comma list; Refused for what is no role."""
    asked = [word.strip() for word in str(change.options.get("roles") or "").split(",") if word.strip()]
    for role in asked:
        if role not in ROLES:
            raise Refused("there is no role %r; known are %s" % (role[:40], ", ".join(ROLES)))
    return asked


def _of_role(change: Change, role: str, missed: bool) -> list[dict[str, Any]]:
    known = change.units(role)
    still = [unit for unit in known if unit["active_state"] not in RUNNING]
    meant = [unit for unit in still if unit["intended"]]
    if meant or not missed or len(still) < len(known):
        return meant
    if not known and "compose" in change.install:
        project = change.install["compose"]
        raise Refused("no container of the project %s runs %s: docker compose up -d in %s creates what its file names" % (
            project["project"], role, project["directory"]))
    if not known:
        masked = _masked_of_role(change.host, role)
        raise Refused(_masked(masked) if masked else "no unit of this host runs %s; install or enable one" % role)
    # Nothing of the role runs. What is switched off on purpose and looks like several of a kind is not guessed at.
    if len(still) > 1 and role not in ("sidekiq", "streaming"):
        raise Refused("several units could run %s and all are switched off (%s): enable the right one" % (
            role, ", ".join(unit["name"] for unit in still)))
    return still


def _masked(name: str) -> str:
    return "%s is masked, so somebody switched it off for good; systemctl unmask %s if that is over" % (name, name)


def _masked_of_role(host: Host, role: str) -> str:
    """A masked unit whose own file, hidden by the mask, runs this role."""
    listed = host.run(["systemctl", "list-unit-files", "--no-pager", "--no-legend", "--plain", "--type=service",
                       "--state=masked,masked-runtime"], 10.0)
    for line in listed.out.decode("utf-8", "replace").splitlines()[:500]:
        name = line.split(" ", 1)[0]
        for folder in services.UNIT_DIRECTORIES:
            text = host.maybe("%s/%s" % (folder, name), services.MAX_UNIT_FILE_BYTES) or ""
            if any(services.role_of(command.split()) == role for command in re.findall(r"(?m)^\s*ExecStart\s*=(.*)$", text)):
                return name
    return ""


def starts_at_boot(host: Host, name: str) -> bool:
    """Enabled itself, or wanted by a unit that is: postgresql@17-main by postgresql, mastodon-streaming@4000 by its shim."""
    if containers.is_one(name):
        return True  # that is the compose file's to say
    shown = units.properties(host, name, "UnitFileState", "WantedBy", "RequiredBy")
    if shown.get("UnitFileState") in ("enabled", "static", "alias", "indirect", "generated"):
        return True
    wanting = (shown.get("WantedBy", "") + " " + shown.get("RequiredBy", "")).split()
    return any(unit.endswith(".target") or units.enabled(host, unit) == "enabled" for unit in wanting)


def check(change: Change) -> str:
    for name in change.step["services"].get("start", []):
        shown = units.properties(change.host, name, "ActiveState", "SubState", "Result", "NRestarts")
        if shown.get("ActiveState") != "active" or int(shown.get("NRestarts") or 0) > 2:
            return "%s is %s (%s, result %s); %s says why" % (
                name, shown.get("ActiveState"), shown.get("SubState"), shown.get("Result"), units.log_command(name))
    return ""
