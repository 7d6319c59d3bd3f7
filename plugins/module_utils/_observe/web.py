# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset web: does Puma answer, asked as the proxy would ask it. 200 means "Puma answers", never "the database is fine"."""

from __future__ import annotations

import re
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._network import ask_health
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import compose, proxy

MAX_ENDPOINTS = 8
BOOT_SECONDS = 30.0  # Rails loads for that long on a small server
# A variable of nginx names nothing that could be asked.
_UPSTREAM = re.compile(r"/[^\s$]+|(?!unix)[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset: an endpoint for every unit that is meant to run Puma, and for every upstream of the proxy that none of them is."""
    # config/puma.rb is read before dotenv: only the process's own environment decides where it listens.
    found = {address_of(unit, unit["_env"], 3000): unit["name"] for unit in install["units"] if unit["role"] == "web" and unit["intended"]}
    return {"endpoints": ask_all(host, install, with_upstreams(host, install, found, "upstream_web"), "/health", BOOT_SECONDS)}


def address_of(unit: dict[str, Any], settings: dict[str, str], default_port: int) -> str:
    """Where a server listens by its settings: SOCKET (relative to its directory), else BIND:PORT; of a container its published port."""
    socket, port = settings.get("SOCKET", ""), settings.get("PORT", "")
    number = int(port) if port.isdigit() and 0 < int(port) < 65536 else default_port
    if unit.get("manager") == "compose":
        given = re.search(r"(?:-p|--port)[ =](\d{1,5})\b", " ".join(unit["_argv"]))  # rails s -p 3000, the command until 4.2
        return compose.address_of(unit, int(given.group(1)) if given else number)
    if socket:
        return socket if socket.startswith("/") else unit["working_directory"].rstrip("/") + "/" + socket
    bind = settings.get("BIND") or "127.0.0.1"
    return ("[%s]:%d" if ":" in bind and not bind.startswith("[") else "%s:%d") % (bind, number)


def with_upstreams(host: Host, install: dict[str, Any], found: dict[str, str], key: str) -> dict[str, str]:
    """Address -> unit, and the addresses that nginx hands requests to but no unit stands for ("")."""
    addresses = dict(found)
    ports = {address.rsplit(":", 1)[-1] for address in found}
    for upstream in proxy.handed_on(host, install).get(key, ()):
        if _UPSTREAM.fullmatch(upstream) and upstream.rsplit(":", 1)[-1] not in ports:
            addresses.setdefault(upstream, "")
    return addresses


def ask_all(host: Host, install: dict[str, Any], addresses: dict[str, str], path: str, boot_seconds: float) -> list[dict[str, Any]]:
    """Endpoints of the contract; `unit` is absent where no unit stands for the address, `booting` true for one started just now."""
    headers = {"Host": install.get("domain") or "localhost", "X-Forwarded-Proto": "https"}
    units = {unit["name"]: unit for unit in install["units"]}
    endpoints = []
    for address, name in list(addresses.items())[:MAX_ENDPOINTS]:
        answer = ask_health(host, address, path, headers)
        if name:
            unit = units[name]
            young = time.time() - unit.get("since_epoch", 0.0) < boot_seconds
            answer.update(unit=name, booting=unit["active_state"] == "active" and unit["restarts"] == 0 and young and not answer["healthy"])
        endpoints.append(answer)
    return endpoints
