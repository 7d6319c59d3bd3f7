# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of the administrator's that run a command of Mastodon's now and then (tootctl by a timer, a migration after an upgrade).

What such a command says is in the journal; what somebody typed in a shell is nowhere but on the screen.
"""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, Any, List, Mapping

from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

# Where administrators put units of their own; those of packages are elsewhere.
DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system")
MAX_FILES = 400
MAX_COMMANDS = 20
MAX_FILE_BYTES = 65536
_NAME = re.compile(r"^[\w:.\\-]+\.service$")  # with an @ it is a template, of which only instances run
_RUNS = re.compile(r"(?m)^\s*Exec(?:Start|StartPre|StartPost)\s*=.*(?<![\w-])(?:tootctl|rails|rake|bundle|yarn|corepack)(?![\w-])")


def command_units(host: Host, install: Mapping[str, Any]) -> List[str]:
    """Names of such units of this Mastodon: their file names its directory, or its user; none of them is a service of Mastodon's itself."""
    root = str(install.get("root") or "")
    if not root:
        return []
    known = {str(unit["name"]) for unit in install.get("units") or ()}
    places = {root} | {str(unit.get("working_directory") or root) for unit in install.get("units") or ()}
    user = str((install.get("owner") or {}).get("user") or "root")
    ours = "|".join(re.escape(place) + r"(?![\w.-])" for place in sorted(places) if place != "/")
    if user != "root":
        ours += r"|^\s*User\s*=\s*%s\s*$" % re.escape(user)
    found: List[str] = []
    for directory in DIRECTORIES:
        try:
            names = sorted(host.listing(directory))[:MAX_FILES]
        except HostError:
            continue
        for name in names:
            if name in known or name in found or not _NAME.match(name):
                continue
            text = (host.maybe(directory + "/" + name, MAX_FILE_BYTES) or "").replace("\\\n", " ")
            if _RUNS.search(text) and re.search(ours, text, re.MULTILINE):
                found.append(name)
    return found[:MAX_COMMANDS]
