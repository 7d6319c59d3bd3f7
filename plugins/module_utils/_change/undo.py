# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take back what a step did, by its journal alone, newest operation first (private, may change any time).

Every operation can be taken back any number of times: an undo that was itself interrupted is simply done again. The kinds of a fix's own
are in the `UNDO` of its module: {kind: function(operation, say)}.
"""

from __future__ import annotations

import os

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk, project, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import MAX_FILE_BYTES
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Attributes
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Asked
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

    Own = Mapping[str, Callable[[dict[str, Any], Callable[[str], None]], None]]

UNIT_FOLDERS = ("/etc/systemd/system/",)


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
        # The step may have been killed before it asked for this, and systemd started anew with the file.
        asked.reload_units = asked.reload_units or operation["path"].startswith(UNIT_FOLDERS)
    elif kind == "attributes":
        if disk.attributes_of(operation["path"]) is not None:
            disk.dress(operation["path"], Attributes(*operation["old"]))
    elif kind == "made_directory":
        # What others have put there since is theirs.
        if os.path.isdir(operation["path"]) and not os.listdir(operation["path"]):
            disk.remove(operation["path"])
    elif kind == "directory":
        disk.exchange_back(operation["path"], operation["kept"], operation["inode"])
    elif kind == "enabled":
        # Without a state it is gone: taken back before, by an undo that was broken off later.
        if operation["was"] == "disabled" and units.enabled(host, operation["unit"]):
            units.disable(host, operation["unit"])
    elif kind == "stopped":
        if operation["unit"] not in asked.start:
            asked.start.append(operation["unit"])
    elif kind == "made_anew":
        asked.awaited += operation["containers"]
        project.make_anew_again(operation, journal.say)
    elif kind in own:
        own[kind](operation, journal.say)


def _file(journal: Journal, step: dict[str, Any], operation: dict[str, Any]) -> None:
    path, old, saved, temporary = operation["path"], operation["old"], operation["saved"], operation.get("temporary", "")
    if temporary:
        disk.remove_temporary(path, temporary)  # of the write itself, or of an undo that was killed
    if _is_somebody_elses(journal, step, path):
        raise HostError("it has been changed since and is left as it is; " + (
            "it was not there before" if saved is None else "what it held before is in " + journal.place_of_saved(step, saved)))
    if saved is None:
        if disk.attributes_of(path) is not None:
            disk.remove(path)
        return
    disk.write(path, journal.saved(step, saved), Attributes(*old), temporary)


def _is_somebody_elses(journal: Journal, step: dict[str, Any], path: str) -> bool:
    """Whether the file holds now what this step neither found nor made, nor a later one of the run that nobody can take back."""
    known: set[str | None] = set()
    for other in journal.run["steps"]:
        if other["number"] != step["number"] and other["undoable"]:
            continue
        for each in journal.operations(other):
            if each["kind"] == "file" and each["path"] == path:
                if "made" not in each:
                    return False  # written by a release that did not note it
                known |= {each["made"], None if each["saved"] is None else sha256(journal.saved(other, each["saved"])).hexdigest()}
    now = None if disk.attributes_of(path) is None else sha256(disk.read(path, MAX_FILE_BYTES)).hexdigest()
    return now not in known
