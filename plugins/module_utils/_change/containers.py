# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acting on the containers of a compose project, in the place of units (private, may change any time); `units.py` hands over to it.

They are started, stopped and restarted as they are, by their engine: `docker compose up` would make anew what was edited or pulled since,
which nobody asked for.
"""

from __future__ import annotations

import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils import _engine
from ansible_collections.fediops.mastodon.plugins.module_utils._change import sidekiq
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import compose

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_SECONDS = 90
_UNIT = re.compile(r"\.(?:service|target|socket|timer|slice|scope|mount)$")
_NAME = re.compile(r"^[A-Za-z0-9][\w.-]{0,199}$")


def is_one(name: str) -> bool:
    """Whether this is the name of a container: units of systemd carry their kind at the end."""
    return _UNIT.search(name) is None


def unit(host: Host, name: str) -> dict[str, Any]:
    """The container as a unit; HostError when the engine knows none of that name."""
    if not _NAME.match(name):
        raise HostError("%r is no name of a container" % name[:60])
    return compose.unit_of(host, _of(host).get("/containers/%s/json" % name))


def properties(host: Host, name: str) -> dict[str, str]:
    """In systemd's words, as far as fixes ask for them."""
    try:
        known = unit(host, name)
    except _engine.Missing:
        return {"ActiveState": "inactive", "SubState": "gone", "Result": "success", "UnitFileState": "", "NRestarts": "0"}
    return {"ActiveState": known["active_state"], "SubState": known["sub_state"], "Result": known["result"], "WantedBy": "",
            "UnitFileState": known["enabled"], "NRestarts": str(known["restarts"]), "MainPID": str(known.get("pid", 0)),
            "NeedDaemonReload": "no", "CanReload": "no"}


def processes(host: Host, name: str) -> list[str]:
    """Process ids, as the host counts them."""
    container = unit(host, name)["_container"]
    return [pid for pid in host.names("/proc") if pid.isdigit() and container in (host.maybe("/proc/%s/cgroup" % pid, 16384) or "")]


def start(host: Host, name: str) -> None:
    known = unit(host, name)
    _of(host).act("/containers/%s/%s" % (known["_container"], "unpause" if known["sub_state"] == "paused" else "start"), 60.0)


def stop(host: Host, role: str, name: str, say: Callable[[str], None]) -> None:
    known = unit(host, name)
    if known["sub_state"] == "paused":
        start(host, name)
    if role == "sidekiq" and "pid" in known:
        sidekiq.drain(host, processes(host, name), name, say)
    _of(host).act("/containers/%s/stop" % known["_container"], STOP_SECONDS + 30.0, t=str(STOP_SECONDS))


def restart(host: Host, role: str, name: str, say: Callable[[str], None]) -> None:
    """Stop and start, so that Sidekiq is drained; the counter of restarts begins anew."""
    stop(host, role, name, say)
    start(host, name)


def refreshed(host: Host, install: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers of the project as they are now."""
    found = []
    for each in install["units"]:
        if each.get("manager") == "compose":
            try:
                found.append(dict(each, **unit(host, each["name"])))
            except _engine.Missing:
                continue
    for each in found:
        if each["active_state"] != "active":
            each.pop("pid", None)
    return found


def text(host: Host, known: dict[str, Any], path: str) -> str:
    """Content of a file of the container, empty when there is none."""
    try:
        whole = path if path.startswith("/") else known["working_directory"].rstrip("/") + "/" + path
        return _of(host).file(known["_container"], whole, 1 << 20).decode("utf-8", "replace") if path else ""
    except HostError:
        return ""


def _of(host: Host) -> _engine.Engine:
    deadline = time.monotonic() + STOP_SECONDS + 60.0
    patient = Host(max(host.deadline, deadline))
    socket = _engine.find(patient)
    if not socket:
        raise HostError("no container engine answers on this host")
    return _engine.at(patient, socket)
