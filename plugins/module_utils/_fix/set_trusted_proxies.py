# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add the proxy on this host to TRUSTED_PROXY_IP, where it is set: the setting replaces Rails' own list, in which it was.

Only the addresses of this host are added: which others may be believed, nobody but the administrator knows. Web and streaming read it.
"""

from __future__ import annotations

import re

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import drop_in, project_settings, unit_environment
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv import RAILS_FILES
from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv_edit import EditError, edited
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import this_host, trusted_proxies
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.install import _dotenv_gem

KEY = "TRUSTED_PROXY_IP"
TOPIC = "trusted-proxies"


def fix(change: Change) -> None:
    if not change.facts.get("proxy", {}).get("upstream_web_is_local"):
        raise Refused("no proxy of this host hands requests to Mastodon's web process; which others may be believed must be set by hand")
    units = [unit for unit in change.units("web", "streaming") if unit["intended"]]
    if "compose" in change.install:
        _set_for_containers(change, units)
        return
    alone = [(unit, _wanted(change, unit["_env"][KEY])) for unit in units if unit["_env"].get(KEY)]
    for unit, value in alone:
        if value:
            _set_for_unit(change, unit, value)
    if len(alone) < len(units):
        _set_in_file(change, [unit for unit in units if not unit["_env"].get(KEY)])


def _wanted(change: Change, value: str) -> str:
    """The list with this host in it, "" when it is there already."""
    here = this_host(change.units("web"))
    told = trusted_proxies(value, here)
    if told["invalid"]:
        raise Refused("%s holds %s, which is no address; correct that by hand" % (KEY, told["invalid"][0]))
    if told["this_host"]:
        return ""
    # Until 3.4 only blanks separated.
    between = " " if tuple(change.install.get("version", {}).get("number", (99,))) < (3, 5) else ","
    return between.join([*re.split(r"[\s,]+", value.strip()), *here, *(["::1"] if "127.0.0.1" in here else [])])


def _set_for_containers(change: Change, units: list[dict[str, Any]]) -> None:
    value = next((unit["_env"][KEY] for unit in units if unit["_env"].get(KEY)), "")
    wanted = _wanted(change, value) if value else ""
    if wanted:
        project_settings.set_where_they_stand(change, {KEY: wanted}, units)


def _set_for_unit(change: Change, unit: dict[str, Any], value: str) -> None:
    wanted = {KEY: value}
    unit_environment.refuse_when_hopeless(change, unit, TOPIC, wanted)
    if drop_in.write(change, unit["name"], TOPIC, unit_environment.lines(change, unit["name"], TOPIC, wanted)):
        change.restart(unit["name"])


def _set_in_file(change: Change, units: list[dict[str, Any]]) -> None:
    files = change.install.get("_files", {})
    name = next((each for each in RAILS_FILES if files.get(each, {}).get("keys", {}).get(KEY, "").strip()), "")
    if not name:
        return
    value = _wanted(change, files[name]["keys"][KEY])
    if not value:
        return
    path = "%s/%s" % (change.install["root"], name)
    text = change.text(path) or ""
    try:
        after = edited(text, {KEY: value}, [], _dotenv_gem(change.install))
    except EditError as problem:
        raise Refused("%s: %s" % (path, problem)) from None
    shown = ("%s=%s\n" % (KEY, files[name]["keys"][KEY]), "%s=%s\n" % (KEY, value))
    if change.write(path, after, shown=shown):
        for unit in units:
            if "pid" in unit:
                change.restart(unit["name"])
