# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset streaming: does the streaming server answer, asked as the proxy would ask it."""

from __future__ import annotations

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._network import ask_health


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset: one endpoint for every unit that runs the streaming server; the shim of 4.2 and newer runs none."""
    units = [unit for unit in install["units"] if unit["role"] == "streaming"]
    real = [unit for unit in units if not unit["shim"]] or units
    endpoints = []
    for unit in real:
        # Unlike Puma, streaming loads .env.production first, without overriding its own environment.
        settings = dict(install["_files"].get(".env.production", {}).get("keys", {}), **unit["_env"])
        port = settings.get("PORT", "")
        number = int(port) if port.isdigit() and 0 < int(port) < 65536 else 4000
        address = settings.get("SOCKET") or "%s:%d" % (settings.get("BIND") or "127.0.0.1", number)
        headers = {"Host": install.get("domain") or "localhost"}
        endpoints.append(dict(ask_health(host, address, "/api/v1/streaming/health", headers), unit=unit["name"]))
    return {"endpoints": endpoints}
