# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset disk: bytes and inodes of every filesystem that Mastodon, PostgreSQL, Redis, logs or temporary files stand on."""

from __future__ import annotations

import os
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.composition import media_path, source_of

# A filesystem counts as full when the next WAL segment of PostgreSQL (16 MiB) or a Redis snapshot will no longer fit.
FULL_BYTES = 32 << 20
FULL_INODES = 1000
CONSUMERS_FROM_PERCENT = 90.0
CONSUMER_SECONDS = 2.0
SERVER_DIRECTORIES = (("database", "/var/lib/postgresql"), ("redis", "/var/lib/redis"), ("proxy", "/var/lib/nginx"),
                      ("proxy", "/var/cache/nginx"))
GROWING = ("/var/log/journal", "/var/log", "/var/cache/apt", "/var/lib/postgresql", "/var/lib/redis", "/var/lib/docker", "/var/cache/nginx",
           "/tmp", "/var/tmp")


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset; reads only statvfs and, where a filesystem is nearly full, the sizes of the directories known to grow."""
    mounts = mount_table(host.maybe("/proc/self/mountinfo", 4 << 20) or "")
    by_mount: dict[str, dict[str, Any]] = {}
    for purpose, path in _places(host, install):
        real = host.real(path)
        space = host.space(real)
        if space is None:
            continue
        mount, kind, _read_only = mount_of(real, mounts)
        facts = by_mount.get(mount)
        if facts is None:
            facts = by_mount[mount] = _measure(mount, kind, space)
        if purpose not in facts["holds"]:
            facts["holds"].append(purpose)
    filesystems = sorted(by_mount.values(), key=lambda facts: -facts["used_percent"])
    crowded = [facts["mount"] for facts in filesystems
               if facts["used_percent"] >= CONSUMERS_FROM_PERCENT or facts["inodes_used_percent"] >= CONSUMERS_FROM_PERCENT]
    return {"filesystems": filesystems, "consumers": _consumers(host, install, crowded, mounts) if crowded else []}


def _places(host: Host, install: dict[str, Any]) -> list[tuple[str, str]]:
    """(purpose, path) of everything that can stop Mastodon when its filesystem is full."""
    places = [("root", "/"), ("tmp", "/tmp"), ("tmp", "/var/tmp"), ("logs", "/var/log")]
    if install["deployment"] == "systemd" and install["found"]:
        places += [("app", install["root"]), ("app", install["root"] + "/tmp")]
    places += [("media", path) for path in media_places(install)]
    if "owner" in install and install["deployment"] == "systemd":
        places.append(("home", install["owner"]["home"]))
    for unit in install["units"]:
        if unit.get("manager") == "compose":
            places += _of_container(unit)
            continue
        # PostgreSQL and Redis make their data directory their working directory.
        if unit["role"] in ("database", "redis") and "pid" in unit:
            places.append((unit["role"], host.link("/proc/%d/cwd" % unit["pid"])))
    roles = {unit["role"] for unit in install["units"] if unit.get("manager") != "compose"}
    places += [(role, path) for role, path in SERVER_DIRECTORIES if role in roles]
    places += [("docker", "/var/lib/docker")] if install["deployment"] == "docker" else []
    return [(purpose, path) for purpose, path in places if path.startswith("/") and host.is_dir(path)]


def _of_container(unit: dict[str, Any]) -> list[tuple[str, str]]:
    """Where on this host a container writes: its volumes, and below the engine's own directory its layer and its log."""
    places = [("logs", unit["_state_root"]), ("app", unit["_state_root"])]
    if unit["role"] in ("database", "redis"):
        places += [(unit["role"], each["source"]) for each in unit["_mounts"] if each["writable"]]
    return places


def media_places(install: dict[str, Any]) -> list[str]:
    """Where on this host the uploads lie: in the checkout, or in the volumes of the containers that have them."""
    if install["deployment"] == "systemd" and install["found"]:
        return [install["media_root"]]
    units = [unit for unit in install["units"] if unit.get("manager") == "compose" and unit["role"] in ("web", "sidekiq")]
    return [path for path in dict.fromkeys(source_of(unit, media_path(unit, install)) for unit in units) if path]


def mount_table(text: str, filesystems: bool = False) -> list[tuple[str, str, bool]]:
    """(mount point, type, read-only) of /proc/PID/mountinfo, in its order. `filesystems`: read-only wherever they are mounted."""
    table = []
    for line in text.splitlines():
        fields = line.split(" ")
        if "-" not in fields or len(fields) < 10:
            continue
        kind = fields[fields.index("-") + 1]
        point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        here = "ro" in fields[5].split(",") and not filesystems
        table.append((point, kind, here or "ro" in fields[-1].split(",")))
    return table


def mount_of(path: str, mounts: list[tuple[str, str, bool]]) -> tuple[str, str, bool]:
    """The mount that a path without links stands on; of several on the same point the last one is the visible one."""
    best = ("/", "", False)
    for mount in mounts:
        point = mount[0]
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = mount
    return best


def read_only_for(host: Host, pid: int | str, path: str) -> bool:
    """Whether a path without links stands on a read-only mount in the mount namespace of a process."""
    return mount_of(path, mount_table(host.maybe("/proc/%s/mountinfo" % pid, 4 << 20) or ""))[2]


def _measure(mount: str, kind: str, space: os.statvfs_result) -> dict[str, Any]:
    size = space.f_frsize
    used = (space.f_blocks - space.f_bfree) * size
    available = space.f_bavail * size
    percent = 100.0 * used / (used + available) if used + available else 0.0
    inodes_used = space.f_files - space.f_ffree
    inodes_percent = 100.0 * inodes_used / (inodes_used + space.f_favail) if space.f_files and inodes_used + space.f_favail else 0.0
    read_only = bool(space.f_flag & os.ST_RDONLY)  # an image that is mounted read-only (squashfs) is always full
    full = bool(space.f_blocks) and percent >= 95 and available < FULL_BYTES and not read_only
    inodes_full = bool(space.f_files) and inodes_percent >= 99 and space.f_favail < FULL_INODES and not read_only
    return {
        "mount": mount, "type": kind, "size_bytes": space.f_blocks * size, "available_bytes": available, "used_percent": round(percent, 1),
        "inodes": space.f_files, "inodes_available": space.f_favail, "inodes_used_percent": round(inodes_percent, 1),
        "read_only": read_only,
        "full": full, "inodes_full": inodes_full, "exhausted": full or inodes_full, "holds": [],
    }


def _consumers(host: Host, install: dict[str, Any], crowded: list[str], mounts: list[tuple[str, str, bool]]) -> list[dict[str, Any]]:
    """Sizes of the directories known to grow, on crowded filesystems, biggest first. `complete` false: the time was up."""
    paths = [path + inner for path in media_places(install) for inner in ("/cache", "")] + list(GROWING)
    if "owner" in install and install["deployment"] == "systemd":
        paths.append(install["owner"]["home"])
    until = time.monotonic() + host.left(CONSUMER_SECONDS)
    found: list[tuple[int, str, bool]] = []
    for path in paths:
        if host.is_dir(path) and mount_of(host.real(path), mounts)[0] in crowded:
            size, complete = host.usage(path, until)
            if size:
                found.append((size, path, complete))
    return [{"path": path, "bytes": size, "complete": complete} for size, path, complete in sorted(found, reverse=True)[:10]]
