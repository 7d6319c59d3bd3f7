# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset streaming: does the streaming server answer, asked as the proxy would ask it."""

from __future__ import annotations

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.web import address_of, ask_all, with_upstreams

BOOT_SECONDS = 10.0


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset: an endpoint for every unit that is meant to run the streaming server; the shim of 4.2 and newer runs none."""
    units = [unit for unit in install["units"] if unit["role"] == "streaming" and unit["intended"]]
    # Unlike Puma, streaming loads .env.production first, without overriding its own environment.
    dotenv = install["_files"].get(".env.production", {}).get("keys", {})
    found = {address_of(unit, dict(dotenv, **unit["_env"]), 4000): unit["name"]
             for unit in [each for each in units if not each["shim"]] or units}
    addresses = with_upstreams(host, install, found, "upstream_streaming")
    return {"endpoints": ask_all(host, install, addresses, "/api/v1/streaming/health", BOOT_SECONDS)}
