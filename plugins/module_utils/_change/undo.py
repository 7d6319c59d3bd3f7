# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take back what a step did, by its journal alone, newest operation first (private, may change any time).

Every operation can be taken back any number of times: an undo that was itself interrupted is simply done again. The kinds of a fix's own
are in the `UNDO` of its module: {kind: function(operation, say)}.
"""

from __future__ import annotations

import os

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Asked
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

    Own = Mapping[str, Callable[[dict[str, Any], Callable[[str], None]], None]]


def take_back(host: Host, journal: Journal, step: dict[str, Any], own: Own, asked: Asked) -> list[str]:
    """Undo all operations of a step; sentences about what could not be undone. Services that must follow are added to `asked`."""
    problems = []
    for operation in reversed(journal.operations(step)):
        try:
            _one(host, journal, step, operation, own, asked)
        except Exception as problem:  # noqa: BLE001  one that cannot be taken back must not keep the others from it
            what = operation.get("path") or operation.get("unit") or operation["kind"]
            problems.append("%s could not be taken back: %s" % (what, problem))
    told = step.get("services") or {}
    asked.reload_units = asked.reload_units or bool(told.get("reload_units"))
    for name in told.get("restart", []):
        if name not in asked.restart:
            asked.restart.append(name)
    for name in told.get("reload", []):
        if name not in asked.reload:
            asked.reload.append(name)
    return problems


def _one(host: Host, journal: Journal, step: dict[str, Any], operation: dict[str, Any], own: Own, asked: Asked) -> None:
    kind = operation["kind"]
    if kind == "file":
        _file(journal, step, operation)
    elif kind == "attributes":
        if disk.attributes_of(operation["path"]) is not None:
            disk.dress(operation["path"], Attributes(*operation["old"]))
    elif kind == "made_directory":
        # What others have put there since is theirs.
        if os.path.isdir(operation["path"]) and not os.listdir(operation["path"]):
            disk.remove(operation["path"])
    elif kind == "directory":
        if os.path.lexists(operation["kept"]) and os.lstat(operation["kept"]).st_ino == operation["inode"]:
            disk.exchange(operation["path"], operation["kept"])
    elif kind == "enabled":
        if operation["was"] == "disabled":
            units.disable(host, operation["unit"])
    elif kind == "stopped":
        if operation["unit"] not in asked.start:
            asked.start.append(operation["unit"])
    elif kind in own:
        own[kind](operation, journal.say)


def _file(journal: Journal, step: dict[str, Any], operation: dict[str, Any]) -> None:
    path, old, saved = operation["path"], operation["old"], operation["saved"]
    if saved is None:
        if disk.attributes_of(path) is not None:
            disk.remove(path)
        return
    disk.write(path, journal.saved(step, saved), Attributes(*old))
