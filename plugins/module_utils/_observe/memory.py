# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset memory: RAM, swap and pressure. The OOM kills of the window are found by the subset logs and joined to it."""

from __future__ import annotations

import re

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset; sizes from /proc/meminfo, pressure from /proc/pressure/memory where the kernel has it."""
    kib = {key: int(value) * 1024 for key, value in re.findall(r"(?m)^(\w+):\s+(\d+) kB$", host.text("/proc/meminfo", 65536))}
    facts: dict[str, Any] = {"ram_bytes": kib["MemTotal"], "available_bytes": kib.get("MemAvailable", kib["MemFree"]),
                             "swap_bytes": kib.get("SwapTotal", 0), "swap_free_bytes": kib.get("SwapFree", 0)}
    pressure = re.search(r"(?m)^some .*avg60=([\d.]+)", host.maybe("/proc/pressure/memory", 4096) or "")
    if pressure:
        facts["pressure_percent"] = float(pressure.group(1))
    return facts
