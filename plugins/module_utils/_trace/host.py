# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trace of a host from nothing: find the install, then its logs, each in a process that ends in time."""

from __future__ import annotations

import platform
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import install
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import secrets
from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import side_by_side
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.observe import observe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

SCHEMA = 1


def trace(
    request_id: str, since_seconds: float, timeout_seconds: float, root: str, signatures: Mapping[str, Any], clues: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``mastodon_trace_info`` returns as ``trace``. Comes back within timeout_seconds and a moment, whatever hangs.

    state: ok, failed, denied or timeout, the last three with a reason and without lines.
    """
    started, now = time.monotonic(), time.time()
    end = started + timeout_seconds
    found = side_by_side({"install": lambda host: install.observe(host, root)}, {"install": started + timeout_seconds / 3})["install"]
    ground: dict[str, Any] = found.facts if found.state == "ok" else {"found": False, "units": [], "roles": []}
    options = {"request_id": request_id, "since_epoch": now - since_seconds, "deadline": end - 1.0, "signatures": signatures,
               "secrets": secrets(ground), "clues": clues}  # fmt: skip

    def look(host: Host) -> dict[str, Any]:
        if ground.get("deployment") == "docker" and "compose" not in ground:
            raise HostError("Mastodon runs in containers here that no docker compose made (or its engine may not be asked)")
        if not ground["units"]:
            raise HostError("neither Mastodon nor a service of it was found on this host")
        return observe(host, ground, options)

    outcome = side_by_side({"trace": look}, {"trace": end})["trace"] if found.state == "ok" else found
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "request_id": request_id,
        "host": platform.node()[:253],
        "since_epoch": round(now - since_seconds, 3),
        "state": outcome.state,
        "roles": list(ground["roles"]),
        "install": {key: ground[key] for key in ("version", "deployment", "domain", "root", "owner") if ground.get(key)},
        "clock": {"first_epoch": now, "last_epoch": time.time()},
    }
    if outcome.reason:
        told["reason"] = outcome.reason[:400]
    return {**told, **outcome.facts} if outcome is not found else told
