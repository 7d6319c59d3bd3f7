# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A swap file: where it may lie, how it is made so that the kernel takes it, and how it goes (private, may change any time)."""

from __future__ import annotations

import os
import re

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk
from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

NAME = "fediops.swap"
# The kernel swaps to a file on these without a filesystem in between. On btrfs it forbids snapshots of the whole subvolume (btrfs(5)), so
# there the file gets a subvolume of its own, without copy on write.
DIRECT = ("ext2", "ext3", "ext4", "xfs")
LEFT_BYTES = 1 << 30
LEFT_PERCENT = 10
_WRITE_SECONDS = 1800.0


def place(change: Change, size_bytes: int) -> tuple[str, str]:
    """(path of the file, type of the filesystem): / if it fits there, else where most room is; Refused when it fits nowhere."""
    found = change.facts.get("disk", {}).get("filesystems", [])
    usable = [each for each in found if each["type"] in (*DIRECT, "btrfs") and not each["read_only"]
              and each["available_bytes"] - size_bytes > max(LEFT_BYTES, each["size_bytes"] * LEFT_PERCENT // 100)
              and _is_roots(each["mount"])]
    if not usable:
        raise Refused("no filesystem can take a swap file of %s and keep %s free, in a directory that only root can change: %s" % (
            _app.size(size_bytes), _app.size(LEFT_BYTES), ", ".join("%s (%s) has %s" % (each["mount"], each["type"], _app.size(
                each["available_bytes"])) for each in found[:8]) or "none is known"))
    best = min(usable, key=lambda each: (each["mount"] != "/", each["type"] == "btrfs", -each["available_bytes"]))
    top = best["mount"].rstrip("/")
    if not re.match(r"^(?:/[\w./@+-]+)?$", top):
        raise Refused("the mount point %s has characters in its name that /etc/fstab gives a meaning of its own" % best["mount"][:100])
    return (top + "/" + NAME + "/file" if best["type"] == "btrfs" else top + "/" + NAME), best["type"]


def _is_roots(folder: str) -> bool:
    """Whoever else may change the directory could turn the name, while root writes to it, into a link to something else."""
    try:
        status = os.stat(folder)
    except OSError:
        return True  # where there is nothing, nothing is written
    return status.st_uid == 0 and not status.st_mode & 0o022


def make(change: Change, path: str, kind: str, size_bytes: int) -> None:
    """Make the file, 0600, and swap to it; journaled as `swap`, which is taken back by `take_back`."""
    folder = os.path.dirname(path)
    if os.path.lexists(folder if kind == "btrfs" else path):
        raise Refused("%s is there already and not swapped to; remove it, or swapon it, first" % path)
    if not change.before("swap", "swap file %s of %s" % (path, _app.size(size_bytes)), path=path, filesystem=kind):
        return
    if kind == "btrfs":
        _must(["btrfs", "subvolume", "create", folder], 60.0)
        os.chmod(folder, 0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.close(handle)
    if kind == "btrfs":
        _must(["chattr", "+C", path], 30.0)
    change.say("writing %s" % path)
    if kind == "ext4":
        _must(["fallocate", "-l", str(size_bytes), path], 300.0)
    else:
        # swapon(8): a file with holes is not taken, and not everywhere is what fallocate leaves taken for a file without.
        _must(["dd", "if=/dev/zero", "of=" + path, "bs=1M", "count=%d" % (size_bytes >> 20), "conv=notrunc,fsync"], _WRITE_SECONDS)
    context = disk.attributes_of(path)
    if context is not None and context.context:
        _must(["chcon", "-t", "swapfile_t", path], 30.0)
    _must(["mkswap", path], 60.0)
    _must(["swapon", path], 60.0)


def with_line(table: str, path: str) -> str:
    """/etc/fstab with a line for this swap file; the same when it has one."""
    if any(line.split()[:1] == [path] for line in table.splitlines()):
        return table
    return (table if not table or table.endswith("\n") else table + "\n") + "%s none swap sw 0 0\n" % path


def in_use(table: str) -> dict[str, int]:
    """/proc/swaps: path -> bytes (spaces in paths are written as \\040)."""
    found = {}
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) >= 3 and words[2].isdigit():
            found[re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), words[0])] = int(words[2]) << 10
    return found


def take_back(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """Stop swapping to it and remove it; what lies there goes back to memory, which takes as long as it takes."""
    path = operation["path"]
    with open("/proc/swaps", encoding="utf-8", errors="replace") as stream:
        used = path in in_use(stream.read())
    if used:
        say("swapping back from %s" % path)
        _must(["swapoff", path], _WRITE_SECONDS)
    if os.path.lexists(path):
        disk.remove(path)
    if operation["filesystem"] == "btrfs" and os.path.isdir(os.path.dirname(path)):
        _must(["btrfs", "subvolume", "delete", os.path.dirname(path)], 60.0)


def _must(words: list[str], seconds: float) -> None:
    done = act(words, seconds)
    if done.rc != 0:
        raise HostError("%s: %s" % (" ".join(words)[:200], "not done within %d s" % seconds if done.rc is None else done.last_line))
