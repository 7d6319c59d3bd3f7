# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Mastodon itself deletes: cached copies of remote media and pictures of link previews, which it fetches again (private).

tootctl says before what it would free (--dry-run). It needs PostgreSQL and Redis, and both must take writes. Where docker compose runs
Mastodon it runs in a container of web or Sidekiq, as its user and with its settings.
"""

from __future__ import annotations

import os
import re

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project
from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import Acted, act
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._app import environment, mastodon, search_path
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._room import Action
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import survey
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError, Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.proxy_site import checkout_of

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

DRY_RUN_SECONDS = 900.0
SECONDS = 12 * 3600.0
_FREED = re.compile(r"(?:Removed ([\d,.]+) [\w ]+\(approx\. |Visited ([\d,.]+) accounts and removed profile media totaling )"
                    r"([\d.,]+) (Bytes?|[KMGT]B)")
_UNITS = {"Byte": 1, "Bytes": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
PROFILES_SINCE = (4, 1)


class _Call(NamedTuple):
    """How tootctl is started here."""

    argv: list[str]
    cwd: str
    owner: Owner | None
    environment: dict[str, str] | None


def why_not(change: Change) -> str:
    """Why tootctl cannot be used now; empty when it can."""
    if change.install.get("storage", "local") != "local":
        return "media lie in object storage"
    facts = survey(["database", "redis"], 15.0, 3600.0, checkout_of(change.install), {})[0]
    if not facts.get("database", {}).get("reachable"):
        return "PostgreSQL does not answer"
    if not all(use.get("writable") for use in facts.get("redis", {}).get("uses", {}).values()):
        return "Redis does not take writes"
    return ""


def actions(change: Change, options: dict[str, Any]) -> list[Action]:
    """In this order; what would free nothing is left out."""
    number = tuple(change.install.get("version", {}).get("number", (0, 0)))
    asked: list[tuple[str, str, list[str]]] = []
    if options.get("media"):
        asked.append(("media", "cached remote media older than %d days" % options["days"],
                      ["media", "remove", "--days", str(options["days"])]))
    if options.get("preview_cards"):
        asked.append(("preview_cards", "pictures of link previews older than %d days" % options["preview_days"],
                      ["preview_cards", "remove", "--days", str(options["preview_days"])]))
    for name, words in (("prune_profiles", "cached avatars and headers of remote accounts"),
                        ("remove_headers", "cached headers of remote accounts")):
        if options.get(name):
            if number < PROFILES_SINCE:
                raise Refused("%s needs Mastodon 4.1 or newer" % name)
            asked.append((name, words, ["media", "remove", "--" + name.replace("_", "-"), "--days", str(options["days"])]))
    found = [_action(change, name, words, argv) for name, words, argv in asked]
    return [each for each in found if each is not None]


def _action(change: Change, name: str, words: str, arguments: list[str]) -> Action | None:
    change.say("asking tootctl what it would free: %s" % words)
    told = _tootctl(change, [*arguments, "--dry-run"])
    match = _FREED.search(told.output)
    if told.rc != 0 or match is None:
        why = told.last_line if told.rc is not None else "it took too long"
        change.say("tootctl %s could not tell: %s" % (" ".join(arguments[:2]), why))
        return None
    count = int(re.sub(r"\D", "", match.group(1) or match.group(2)) or 0)
    freed = int(float(match.group(3).replace(",", "")) * _UNITS[match.group(4)])
    if not count or (not freed and name not in ("media", "preview_cards")):
        return None
    what = "%s: %d, about %s %s (tootctl)" % (words, count, match.group(3), match.group(4))

    def remove() -> None:
        call = _call(change, arguments)
        done = change.command(call.argv, what, SECONDS, owner=call.owner, environment=call.environment, cwd=call.cwd)
        if done is not None and done.rc != 0:
            change.say("tootctl failed: %s" % done.last_line)

    return Action(name, what, freed, 2 * count, remove)


def _call(change: Change, arguments: list[str]) -> _Call:
    if "compose" in change.install:
        unit = next((each for each in change.units("web", "sidekiq") if "pid" in each and each["sub_state"] == "running"), None)
        if unit is None:
            raise Refused("no container of web or Sidekiq runs, in which tootctl could be run")
        argv = [*project.command(change), "exec", "-T", unit["service"], "bin/tootctl", *arguments]
        return _Call(argv, change.install["compose"]["directory"], None, None)
    root, owner = mastodon(change), change.owner()
    if not os.path.exists(root + "/bin/tootctl"):
        raise Refused("there is no bin/tootctl in %s" % root)
    own = environment(change.install, owner, search_path(change.host, change.install, owner))
    return _Call([root + "/bin/tootctl", *arguments], root, owner, own)


def _tootctl(change: Change, arguments: list[str]) -> Acted:
    """A run that only looks."""
    call = _call(change, arguments)
    try:
        return act(call.argv, DRY_RUN_SECONDS, call.owner, call.environment, call.cwd, heard=change.say)
    except HostError as problem:
        return Acted(1, str(problem))
