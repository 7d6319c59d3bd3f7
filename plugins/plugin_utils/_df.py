# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filesystems of a host on which not even Python could be started. Private to this collection.

A module needs some room for a temporary file. When a full disk leaves none, the shell and df still work, and what df says is enough
to name the cause.
"""

from __future__ import annotations

import re
import time
import typing as t

NO_ROOM = re.compile(
    r"No space left on device|Errno 28\b|No usable temporary directory|ENOSPC|Read-only file system|Errno 30\b", re.IGNORECASE
)
COMMAND = (
    "T=; command -v timeout >/dev/null 2>&1 && T='timeout 5'; "
    "LC_ALL=C $T df -P -k 2>/dev/null; echo ==; LC_ALL=C $T df -P -i 2>/dev/null; true"
)
SUBSETS = (
    "install services environment disk memory database redis sidekiq web streaming proxy assets media search logs remediation"
).split()  # every one needs its probe, or what it would have shown would be silently "clear"
# What usually lies where: nobody could ask the services.
_USUAL = {
    "root": "/", "home": "/home", "app": "/home/mastodon/live", "media": "/home/mastodon/live/public/system", "tmp": "/tmp",  # noqa: S108  names of mounts
    "logs": "/var/log", "database": "/var/lib/postgresql", "redis": "/var/lib/redis",
}  # fmt: skip
_PSEUDO = ("tmpfs", "devtmpfs", "udev", "none", "shm", "overlay-none", "efivarfs")
_MOST = 64


def facts(output: str, reason: str) -> dict[str, t.Any]:
    """Facts of the module's shape with the subset disk only; every other subset failed for `reason`."""
    filesystems = parse(output)
    probes: dict[str, t.Any] = {name: {"state": "failed", "seconds": 0.0, "reason": reason} for name in SUBSETS}
    result: dict[str, t.Any] = {"schema": 1, "time_epoch": time.time(), "probes": probes}
    if filesystems:
        probes["disk"] = {"state": "ok", "seconds": 0.0}
        result["disk"] = {"filesystems": filesystems, "consumers": []}
    return result


def parse(output: str) -> list[dict[str, t.Any]]:
    """Output of COMMAND as the contract's disk.filesystems."""
    blocks, _mark, inodes = output.partition("\n==")
    counts = {mount: numbers for _device, numbers, mount in _rows(inodes)}
    filesystems = []
    for device, (size, used, available), mount in list(_rows(blocks))[:_MOST]:
        if size <= 0 or (device in _PSEUDO and mount not in ("/", "/tmp", "/var/tmp")):  # noqa: S108  names of mounts
            continue
        entry: dict[str, t.Any] = {
            "mount": mount,
            "size_bytes": size * 1024,
            "available_bytes": available * 1024,
            "used_percent": _percent(used, used + available),
            "full": available <= 0 or used >= 0.995 * (used + available),
            "inodes_full": False,
        }
        if mount in counts and counts[mount][0] > 0:  # btrfs and others count no inodes
            total, taken, free = counts[mount]
            entry.update(inodes=total, inodes_available=free, inodes_used_percent=_percent(taken, total), inodes_full=free <= 0)
        filesystems.append(entry)
    mounts = sorted((entry["mount"] for entry in filesystems), key=len, reverse=True)
    for entry in filesystems:
        entry["holds"] = [what for what, path in _USUAL.items() if _mount_of(path, mounts) == entry["mount"]]
    return filesystems


def _rows(text: str) -> t.Iterator[tuple[str, tuple[int, int, int], str]]:
    for line in text.splitlines():
        match = re.match(r"(\S+)\s+(\d+)\s+(\d+)\s+(-?\d+)\s+(?:\d+%|-)\s+(/.*)\Z", line.strip())
        if match:
            yield match[1], (int(match[2]), int(match[3]), int(match[4])), match[5]


def _mount_of(path: str, mounts: list[str]) -> str | None:
    return next((mount for mount in mounts if path == mount or path.startswith(mount.rstrip("/") + "/")), None)


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole > 0 else 0.0
