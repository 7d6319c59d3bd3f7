# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that containers of a compose project get from its .env.production: changed there, then the containers made anew (private).

What the compose file itself says (environment, another env_file, the command) wins over this file and is its writer's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv_edit import EditError, edited
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.install import _dotenv_gem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change


def set_where_they_stand(change: Change, wanted: dict[str, str], units: Sequence[dict[str, Any]]) -> None:
    """Give these containers other values of settings that they have from the file; Refused when they have them from elsewhere."""
    path = change.install["compose"]["directory"] + "/.env.production"
    text, gem = change.text(path) or "", _dotenv_gem(change.install)
    before = parse(text.encode("utf-8", "surrogateescape"), {}, gem).values
    for key in sorted(wanted):
        if key not in before:
            raise Refused("%s is not in %s, so the compose file or the image sets it: change it in the compose file (environment, "
                          "env_file), then docker compose up -d" % (key, path))
        # Compose 1 takes quotes for a part of the value.
        told = {unit["name"]: unit["_env"][key].strip("\"'") for unit in units if key in unit["_env"]}
        others = [name for name, value in told.items() if value not in (before[key], wanted[key])]
        if others:
            raise Refused("%s has another %s than %s says, from the compose file or from an edit since: change it in the compose file, or "
                          "docker compose up -d" % (", ".join(others), key, path))
    try:
        after = edited(text, wanted, (), gem)
    except EditError as problem:
        raise Refused("%s: %s" % (path, problem)) from None
    # One that dies of the setting again and again is to get the new one too; one that is stopped gets it when it is made anew.
    stale = [unit for unit in units if unit["active_state"] != "inactive"
             and any(unit["_env"].get(key, wanted[key]) != wanted[key] for key in wanted)]
    if after == text and not stale:
        return
    # All else in the file is not for the reader's eyes.
    shown = ("".join("%s=%s\n" % (key, before[key]) for key in wanted), "".join("%s=%s\n" % pair for pair in wanted.items()))
    with project.made_anew(change, stale):
        change.write(path, after, shown=shown)
