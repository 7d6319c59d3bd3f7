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

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Owner

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

NAME = "docker-compose.override.yml"
OURS = "# Made by fediops.mastodon. To take all of it back, remove this file; then docker compose up -d\n"
_VERSION = re.compile(r"(?m)^version: *['\"]?(\d+(?:\.\d+)?)['\"]?\s*(?:#.*)?$")

_SECRET = re.compile(r"(?i)pass|auth|secret|token|key")


def command_of(unit: dict[str, Any]) -> str:
    """The command of a container as a line for a shell."""
    return shlex.join(unit["_command"])


def write_command(change: Change, unit: dict[str, Any], command: str) -> None:
    """Give the service of a container another command, in effect when it is made anew."""
    told = change.install["compose"]
    path = told["directory"] + "/" + NAME
    words = shlex.split(command)
    by_hand = "set command: %s for the service %s in the compose file, then docker compose up -d" % (_told(words), unit["service"])
    if not project.finds_files_itself(told):
        raise Refused("the project is made of files that compose does not find by itself (%s): %s" % (", ".join(told["files"]), by_hand))
    for name in project.OVERRIDES:
        if name != NAME and change.exists(told["directory"] + "/" + name):
            raise Refused("%s/%s, which is yours, would win or lose against another one: %s" % (told["directory"], name, by_hand))
    said = _ours(change.text(path))
    if said is None:
        raise Refused("%s is yours: %s" % (path, by_hand))
    base = os.path.join(told["directory"], told["files"][0])
    version = _VERSION.search(change.text(base) or "")
    if version:
        said["version"] = version.group(1)  # compose 1 demands the same one of all files
    # What looks like a variable to compose is none.
    said.setdefault("services", {})[unit["service"]] = {"command": [word.replace("$", "$$") for word in words]}
    # As open or closed as the compose file, whose secrets may stand in a command.
    status = os.stat(base)
    shown = ("%s: %s" % (unit["service"], _told(unit["_command"])), "%s: %s" % (unit["service"], _told(words)))
    owner = Owner("", status.st_uid, status.st_gid, "", "")
    change.write(path, OURS + json.dumps(said, indent=2) + "\n", status.st_mode & 0o777, owner, shown=shown)


def _told(words: list[str]) -> str:
    """A command for the reader, without the passwords that it is given."""
    hidden = [at > 0 and _SECRET.search(words[at - 1]) is not None and not word.startswith("-") for at, word in enumerate(words)]
    return shlex.join("[redacted]" if secret else re.sub(r"(?s)=.*", "=[redacted]", word) if _SECRET.search(word) else word
                      for secret, word in zip(hidden, words))


def _ours(text: str | None) -> dict[str, Any] | None:
    """What an override of ours says; None when it is somebody else's, or was edited into something else."""
    if text is None:
        return {}
    try:
        said = json.loads(text[len(OURS):]) if text.startswith(OURS) else None
    except ValueError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("services"), dict) else None
