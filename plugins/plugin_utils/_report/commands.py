# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands of the report that a reader pastes into a shell: with the inventory of this run, and by make where that started it. Pure."""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

DEFAULT_IMPACTS = ("start", "restart")  # done without being asked for
DATABASE_IMPACTS = ("schema", "rebuild")  # then the processes of every host of the instance are restarted: no --limit

Run = t.Mapping[str, t.Any]


def remediate(run: Run, host: str, fix: str, impact: str, forbidden: bool = False) -> str:
    """Allow a fix on a host; one of the shared database on all hosts, and nothing else there.

    `forbidden`: the user's own settings do not even allow what is done by default.
    """
    extra = [] if impact in DEFAULT_IMPACTS and not forbidden else [f"mastodon_remediate_impact={impact}"]
    if impact in DATABASE_IMPACTS:
        return _command(run, "remediate", "", [*extra, f"mastodon_remediate_only={fix}"])
    return _command(run, "remediate", host, extra)


def roll_back(run: Run, host: str, run_id: str) -> str:
    return _command(run, "rollback", host, [f"run={run_id}"])


def _command(run: Run, playbook: str, host: str, extra: list[str]) -> str:
    start = run.get("start") or {}
    inventory = [clean_line(name, 300) for name in start.get("inventory", ())]
    limit = clean_line(host, 80)
    if start.get("lines"):  # the server is in an inventory of the reader's
        inventory, limit = ["INVENTORY"], ""
    variables = " ".join(f"-e {value}" for value in extra)
    if start.get("make") and len(inventory) == 1:
        words = [clean_line(start["make"], 300), playbook, _variable("INVENTORY", inventory[0]), _variable("LIMIT", limit)]
        words.append(_variable("ARGS", variables))
    else:
        words = [f"ansible-playbook fediops.mastodon.{playbook}", *(f"-i {shlex.quote(name)}" for name in inventory), variables]
        words.append(f"--limit {shlex.quote(limit)}" if limit else "")
    return " ".join(filter(None, words))


def _variable(name: str, value: str) -> str:
    return f"{name}={shlex.quote(value)}" if value else ""
