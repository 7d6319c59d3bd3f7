# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watch keeps between two passes: settings, secrets, state (private, may change any time)."""

from __future__ import annotations

import json
import os
import stat
import time

from typing import Any, Dict

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Attributes
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

STATE_DIRECTORY = "/var/lib/fediops.mastodon/monitor"
# On a full disk, which is when the watch matters most, the state lives in memory.
SPARE_DIRECTORY = "/run/fediops.mastodon-monitor"
SETTINGS = "/etc/fediops.mastodon/monitor.json"
# What known issues explain and look for; apart, because nobody edits it and it is long.
CATALOGUE = "/usr/local/lib/fediops-mastodon/catalogue.json"
SECRETS = "/etc/fediops.mastodon/monitor.secrets.json"
MAX_BYTES = 4 << 20


def settings(path: str = SETTINGS) -> Dict[str, Any]:
    """The settings that the role wrote; HostError with one sentence when they are not there or broken."""
    return _mapping(path, Host(time.monotonic() + 10).text(path, MAX_BYTES))


def catalogue(path: str = CATALOGUE) -> Dict[str, Any]:
    """`explains` and `signatures` of the known issues."""
    found = _mapping(path, Host(time.monotonic() + 10).text(path, MAX_BYTES))
    return {"explains": found.get("explains", {}), "signatures": found.get("signatures", {})}


def secrets(path: str = SECRETS) -> Dict[str, Any]:
    """Passwords and addresses of the channels. A file that others may read is refused: it would be no secret."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return {}
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise HostError("%s must be a file of user %d with mode 0600; run the role monitor again" % (path, os.geteuid()))
    return _mapping(path, Host(time.monotonic() + 10).text(path, MAX_BYTES))


def load(directories: Any = (STATE_DIRECTORY, SPARE_DIRECTORY)) -> Dict[str, Any]:
    """The newest state; an empty one when there is none or it is broken: then what goes on is told once more, and nothing is lost."""
    newest: Dict[str, Any] = {}
    for directory in directories:
        try:
            found = _mapping(directory, Host(time.monotonic() + 10).text(directory + "/state.json", MAX_BYTES))
        except HostError:
            continue
        if found.get("schema") == 1 and float(found.get("saved_epoch", 0)) >= float(newest.get("saved_epoch", 0)):
            newest = found
    return newest


def save(state: Dict[str, Any], directories: Any = (STATE_DIRECTORY, SPARE_DIRECTORY)) -> None:
    """Keep the state in the first directory that takes it; OSError when none does."""
    data = json.dumps(dict(state, schema=1, saved_epoch=time.time()), sort_keys=True).encode()
    problem = OSError("no directory was given")
    for directory in directories:
        try:
            disk.write(os.path.realpath(directory) + "/state.json", data, Attributes(os.geteuid(), os.getegid(), 0o600, 0, ""))
            return
        except OSError as error:
            problem = error
    raise problem


def _mapping(path: str, text: str) -> Dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise HostError("%s is not a JSON object; run the role monitor again" % path)
    return value
