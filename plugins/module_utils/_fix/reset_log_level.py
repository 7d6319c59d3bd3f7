# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RAILS_LOG_LEVEL and LOG_LEVEL (streaming) back to info, where somebody left them at debug.

Set to info where they stand, not taken away: in the dotenv files in place, for a unit that sets them itself by our drop-in. Never to warn:
from 4.5 on a failed job is told of at level info only.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import drop_in, project_settings, unit_environment
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv_edit import EditError, edited
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.install import _dotenv_gem

TOPIC = "log-level"
LOUD = {"RAILS_LOG_LEVEL": ("debug",), "LOG_LEVEL": ("silly", "trace", "debug")}
KEYS = {"web": "RAILS_LOG_LEVEL", "sidekiq": "RAILS_LOG_LEVEL", "streaming": "LOG_LEVEL"}
LEVEL = "info"


def fix(change: Change) -> None:
    apps = [unit for unit in change.units(*KEYS) if unit["intended"] or "pid" in unit]
    if "compose" in change.install:
        _in_containers(change, apps)
        return
    own = [unit for unit in apps if unit["_env"].get(KEYS[unit["role"]]) in LOUD[KEYS[unit["role"]]]]
    for unit in own:
        unit_environment.refuse_when_hopeless(change, unit, TOPIC, {KEYS[unit["role"]]: LEVEL})
    written = _files(change)
    for unit in own:
        lines = unit_environment.lines(change, unit["name"], TOPIC, {KEYS[unit["role"]]: LEVEL})
        drop_in.write(change, unit["name"], TOPIC, lines)
        change.restart(unit["name"])
    for unit in apps:
        if unit not in own and "pid" in unit and KEYS[unit["role"]] in written:
            change.restart(unit["name"])


def _in_containers(change: Change, apps: list[dict[str, Any]]) -> None:
    loud = [unit for unit in apps if unit["_env"].get(KEYS[unit["role"]]) in LOUD[KEYS[unit["role"]]]]
    if loud:
        project_settings.set_where_they_stand(change, dict.fromkeys((KEYS[unit["role"]] for unit in loud), LEVEL), apps)


def _files(change: Change) -> set[str]:
    """Set them in each dotenv file that has them too loud; which of the two."""
    found: set[str] = set()
    for name, each in change.install.get("_files", {}).items():
        wanted = {key: LEVEL for key, levels in LOUD.items() if each.get("keys", {}).get(key) in levels}
        if wanted:
            _write(change, "%s/%s" % (change.install["root"], name), wanted, each["keys"])
            found |= set(wanted)
    return found


def _write(change: Change, path: str, wanted: dict[str, str], before: dict[str, Any]) -> None:
    try:
        text = edited(change.text(path) or "", wanted, (), _dotenv_gem(change.install))
    except EditError as problem:
        raise Refused("%s: %s" % (path, problem)) from None
    # All else in the file is not for the reader's eyes.
    change.write(path, text, shown=("".join("%s=%s\n" % (key, before[key]) for key in wanted),
                                    "".join("%s=%s\n" % pair for pair in wanted.items())))
