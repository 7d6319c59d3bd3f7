# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filesystem that needs room: how much it lacks, what stands on it, and what fills it (private, may change any time)."""

from __future__ import annotations

import os
import time

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._observe import disk

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

ENOUGH_BYTES = 1 << 30
ENOUGH_INODES = 50000
LOOK_SECONDS = 5.0


class Action(NamedTuple):
    """Something that may be deleted: one line for the reader, what it is expected to free, and how."""

    name: str
    what: str
    bytes: int
    inodes: int
    act: Callable[[], None]


class Room:
    """One filesystem. Enough: this share of it is free, or 1 GiB (50000 inodes)."""

    def __init__(self, host: Host, mount: str, holds: list[str], enough_percent: int) -> None:
        self.host = host
        self.mount = mount
        self.holds = holds
        self.device = os.stat(mount).st_dev
        self._percent = enough_percent

    def has(self, path: str) -> bool:
        """Asked of directories: files of an overlay tell the device of their layer."""
        status = self.host.stat(path if self.host.is_dir(path) else os.path.dirname(path))
        return status is not None and status.st_dev == self.device

    def lacks(self) -> tuple[int, int]:
        """(bytes, inodes) that are still to be freed; none is negative."""
        space = os.statvfs(self.mount)
        size, files = space.f_blocks * space.f_frsize, space.f_files
        return (max(0, min(size * self._percent // 100, ENOUGH_BYTES) - space.f_bavail * space.f_frsize),
                max(0, min(files * self._percent // 100, ENOUGH_INODES) - space.f_favail))

    @property
    def size(self) -> int:
        space = os.statvfs(self.mount)
        return space.f_blocks * space.f_frsize

    def biggest(self, install: dict[str, Any]) -> list[tuple[str, int]]:
        """What fills it: of / the directories that are known to grow, of others what stands in their first two levels."""
        if self.mount == "/":
            found = [(each["path"], each["bytes"]) for each in disk.observe(self.host, install)["consumers"] if self.has(each["path"])]
        else:
            until = time.monotonic() + LOOK_SECONDS
            top = [self.mount + "/" + name for name in self.host.names(self.mount, 1000)]
            paths = [inner for path in top for inner in ([path + "/" + name for name in self.host.names(path, 1000)] or [path])][:2000]
            found = [(path, _size(self.host, path, until)) for path in paths if self.has(path)]
        return sorted((each for each in found if each[1]), key=lambda each: -each[1])[:5]


def _size(host: Host, path: str, until: float) -> int:
    status = host.stat(path, follow=False)
    if status is None or os.path.islink(path):
        return 0
    return host.usage(path, until)[0] if host.is_dir(path) else status.st_blocks * 512


def exhausted(host: Host, install: dict[str, Any], enough_percent: int) -> list[Room]:
    """The filesystems that are full now, by the same measure as the facts."""
    return [Room(host, each["mount"], each["holds"], enough_percent) for each in disk.observe(host, install)["filesystems"]
            if each["exhausted"]]
