# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset web: does Puma answer, asked as the proxy would ask it. 200 means "Puma answers", never "the database is fine"."""

from __future__ import annotations

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._network import ask_health


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset: one endpoint for every unit that runs Puma."""
    headers = {"Host": install.get("domain") or "localhost", "X-Forwarded-Proto": "https"}
    endpoints = []
    for unit in install["units"]:
        if unit["role"] == "web":
            # config/puma.rb is read before dotenv: only the process's own environment decides where it listens.
            own = unit["_env"]
            address = own.get("SOCKET") or "%s:%s" % (own.get("BIND") or "127.0.0.1", _port(own, 3000))
            endpoints.append(dict(ask_health(host, address, "/health", headers), unit=unit["name"]))
    return {"endpoints": endpoints}


def _port(settings: dict[str, str], default: int) -> int:
    value = settings.get("PORT", "")
    return int(value) if value.isdigit() and 0 < int(value) < 65536 else default
