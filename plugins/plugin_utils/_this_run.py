# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a diagnosis says of the run it was made in. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
import typing as t
import uuid

from ansible import constants as C
from ansible import context

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _run_folder
from ansible_collections.fediops.mastodon.plugins.plugin_utils._collection import version


def described(now: float, facts: dict[str, t.Any], lines: bool = False) -> dict[str, t.Any]:
    """`run` of the diagnosis. `lines`: what it calls hosts are logs that somebody pasted, and in no inventory."""
    spent = [fact["seconds"] for fact in facts.values() if isinstance(fact, dict) and isinstance(fact.get("seconds"), (int, float))]
    started = _run_folder.started or now - max(spent, default=0.0)
    return {
        "id": str(uuid.uuid4()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(now - started, 3),
        "collection": version(),
        "start": _start(lines),
    }


def _start(lines: bool) -> dict[str, t.Any]:
    """How this run was started: with which inventory, and by make of a checkout (`tools/diagnose`) or not."""
    given = context.CLIARGS.get("inventory") or ()
    names = [str(name) for name in ([given] if isinstance(given, str) else given)]
    start: dict[str, t.Any] = {}
    if lines:
        start["lines"] = True
    elif names and names != [str(name) for name in C.DEFAULT_HOST_LIST]:  # type: ignore[attr-defined]
        start["inventory"] = [name if "," in name else _short(name) for name in names]
    if os.environ.get("FEDIOPS_MASTODON_MAKE"):
        start["make"] = os.environ["FEDIOPS_MASTODON_MAKE"]
    return start


def _short(path: str) -> str:
    """Below the folder in which Ansible was started: relative, as it was given."""
    with contextlib.suppress(ValueError, OSError):
        return str(pathlib.Path(path).relative_to(pathlib.Path.cwd()))
    return path
