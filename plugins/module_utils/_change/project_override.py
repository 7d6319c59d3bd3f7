# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the compose file of a project says, said otherwise in an override file beside it: what a drop-in is to a unit (private).

Compose reads docker-compose.override.yml by itself where it was told no files
(https://docs.docker.com/compose/how-tos/multiple-compose-files/merge/). The compose file stays its writer's alone, and so does an override
that this collection did not make.
"""

from __future__ import annotations

import json
import os
import re
import shlex

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.project import OUR_OVERRIDE, OURS
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

_VERSION = re.compile(r"(?m)^version: *['\"]?(\d+(?:\.\d+)?)['\"]?\s*(?:#.*)?$")
_VARIABLE = re.compile(r"(?<!\$)\$[{A-Za-z_]")
STOP = "stop_grace_period"
_STOP = re.compile(r"(?m)^[^#\n]{0,500}\b%s\b" % STOP)
_COMMAND = re.compile(r"\s*command\s*:")


class Override(NamedTuple):
    """What is to be written: nothing refuses it any more."""

    path: str
    text: str
    mode: int
    owner: Owner
    told: tuple[str, str]


def command_of(unit: dict[str, Any]) -> str:
    """The command of a container as a line for a shell."""
    return shlex.join(unit["_command"])


def of_command(change: Change, unit: dict[str, Any], command: str, advice: str) -> Override:
    """Another command for the service of a container, in effect when it is made anew; Refused where compose would not read it.

    `advice`: the same by hand, without what else the command holds, which may be passwords ("add -q pull to").
    """
    by_hand = "%s the command of the service %s in the compose file, then docker compose up -d" % (advice, unit["service"])
    base, text = base_of(change, by_hand)
    if _has_variables(text):
        raise Refused("a command in %s is made of variables, which an override would hold as they are today: %s" % (base, by_hand))
    shown = "%s: %s its command" % (unit["service"], advice)
    return _prepared(change, {unit["service"]: {"command": shlex.split(command)}}, base, by_hand, shown)


def of_mounts(change: Change, services: dict[str, dict[str, list[str]]], base: str, by_hand: str) -> Override:
    """Other mounts for services: {service: {"volumes": [...], "tmpfs": [...]}}.

    Compose takes two mounts of the same path for one, and of two files the later one's.
    """
    shown = "\n".join("%s: %s: %s" % (service, kind, ", ".join(each)) for service, told in services.items() for kind, each in told.items())
    return _prepared(change, services, base, by_hand, shown)


def of_stop(change: Change, services: dict[str, int], by_hand: str) -> Override:
    """How long the engine waits for services before it kills them: {service: seconds}; Refused where the compose file says it itself."""
    base, text = base_of(change, by_hand)
    if _STOP.search(text):
        raise Refused("%s has a %s of its own, which an override would outdo: %s" % (base, STOP, by_hand))
    told = {service: {STOP: "%ds" % seconds} for service, seconds in services.items()}
    return _prepared(change, told, base, by_hand, "\n".join("%s: %s: %s" % (service, STOP, each[STOP]) for service, each in told.items()))


def base_of(change: Change, by_hand: str) -> tuple[str, str]:
    """Path and text of the compose file; Refused where an override of ours beside it would not be read."""
    told = change.install["compose"]
    overrides = [os.path.basename(path) for path in told["files"][1:]]
    base = os.path.join(told["directory"], told["files"][0]) if told["files"] else ""
    text = change.text(base) if base else None
    # Of several overrides compose reads only the first that it looks for.
    if text is None or not project.finds_files_itself(told) or any(name != OUR_OVERRIDE for name in overrides):
        raise Refused("docker compose up -d in %s would not take the files that the containers were made with and one of ours: %s" % (
            told["directory"], by_hand))
    return base, text


def _prepared(change: Change, services: Mapping[str, Mapping[str, str | list[str]]], base: str, by_hand: str, shown: str) -> Override:
    path = change.install["compose"]["directory"] + "/" + OUR_OVERRIDE
    said = _ours(change.text(path))
    if said is None:
        raise Refused("%s is yours: %s" % (path, by_hand))
    version = _VERSION.search(change.text(base) or "")
    if version:
        said["version"] = version.group(1)  # compose 1 demands the same one of all files
    for service, told in services.items():
        ours = said.setdefault("services", {}).setdefault(service, {})
        for key, words in told.items():
            if isinstance(words, str):
                ours[key] = words
                continue
            words = [word.replace("$", "$$") for word in words]  # what looks like a variable to compose is none
            before = [word for word in ours.get(key, []) if word not in words]
            ours[key] = words if key == "command" else before + words
    # As open or closed as the compose file, from which the words are.
    status = os.stat(base)
    owner = Owner("", status.st_uid, status.st_gid, "", "")
    return Override(path, OURS + json.dumps(said, indent=2) + "\n", status.st_mode & 0o777, owner, ("", shown))


def write(change: Change, override: Override) -> None:
    change.write(override.path, override.text, override.mode, override.owner, shown=override.told)


def _has_variables(text: str) -> bool:
    """Whether compose puts a command of this file together from variables."""
    indent: int | None = None  # of the key `command` whose value goes on in these lines
    for line in text.splitlines():
        own = len(line) - len(line.lstrip())
        if _COMMAND.match(line):
            indent = own
        elif line.strip() and indent is not None and (own < indent or own == indent and not line.lstrip().startswith("-")):
            indent = None
        if indent is not None and _VARIABLE.search(line):
            return True
    return False


def _ours(text: str | None) -> dict[str, Any] | None:
    """What an override of ours says; None when it is somebody else's, or was edited into something else."""
    if text is None:
        return {}
    try:
        said = json.loads(text[len(OURS):]) if text.startswith(OURS) else None
    except ValueError:
        return None
    if not isinstance(said, dict) or not isinstance(said.get("services"), dict):
        return None
    told = [each for service in said["services"].values() for each in (service.items() if isinstance(service, dict) else [("", None)])]
    return said if all(isinstance(value, str) if key == STOP else _are_words(value) for key, value in told) else None


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)
