# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of the app (bin/rails, bin/tootctl): its user, its root, the environment of its service (private, may change any time).

The dotenv files are read by the app itself. What systemd tells one process about itself is left out, and what only a server wants.
"""

from __future__ import annotations

import re

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._host import TOOL_ENVIRONMENT

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

_NOT_FOR_COMMANDS = re.compile(
    r"^(?:INVOCATION_ID|JOURNAL_STREAM|NOTIFY_SOCKET|MAINPID|MANAGERPID|SYSTEMD_\w+|WATCHDOG_\w+|LISTEN_\w+|MEMORY_PRESSURE_\w+|"
    r"CREDENTIALS_DIRECTORY|RUNTIME_DIRECTORY|STATE_DIRECTORY|LOGS_DIRECTORY|CACHE_DIRECTORY|LD_PRELOAD|HOME|USER|LOGNAME|SHELL|PATH|"
    r"PORT|BIND|SOCKET|LC_ALL)$")


def command_environment(change: Change) -> dict[str, str]:
    """Of the web process, or of Sidekiq where there is none; ruby and node are found where the service's own command is."""
    service = next((unit for role in ("web", "sidekiq") for unit in change.units(role)), None)
    own = dict(service["_env"]) if service is not None else {}
    environment = {key: value for key, value in own.items() if not _NOT_FOR_COMMANDS.match(key)}
    home = change.owner().home
    first = service["_argv"][0].lstrip("-@:+!") if service is not None and service["_argv"] else ""
    places = [first.rpartition("/")[0] if first.startswith("/") else "", home + "/.rbenv/shims", home + "/.rbenv/bin",
              *own.get("PATH", "").split(":"), *TOOL_ENVIRONMENT["PATH"].split(":")]
    known = [place for place in places if place.startswith("/")]
    environment["PATH"] = ":".join(place for at, place in enumerate(known) if place not in known[:at])
    environment.update(RAILS_ENV="production", NODE_ENV="production")
    return environment
