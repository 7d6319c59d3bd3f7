# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let Redis save its snapshot again, so that it takes writes: its own directory is given back to it, then a snapshot is asked for.

Not for a full disk (reclaim_disk). Only the directory that the account of Redis has as its home is repaired: `dir` of a running Redis can
be set by whoever may write to it, and must not decide what root gives away.
"""

from __future__ import annotations

import os
import pwd

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _redis_save
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._room import exhausted
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import composition
from ansible_collections.fediops.mastodon.plugins.module_utils._tree import User

SERVERS = ("redis-server", "valkey-server", "keydb-server")


def fix(change: Change) -> None:
    targets = _redis_save.unsaved(change)
    if not targets:
        return
    full = [room.mount for room in exhausted(change.host, change.install, 10) if "redis" in room.holds]
    if full:
        raise Refused("%s, where Redis saves, is full; make room first (reclaim_disk)" % ", ".join(full))
    running = [unit for unit in change.units("redis") if "pid" in unit]
    if not running:
        raise Refused("Redis at %s is not on this host; its log, on its own host, says why it cannot save" % targets[0].label)
    for unit in running:
        if "compose" not in change.install:
            _give_back(change, unit)
        elif any(target.host in unit["_ips"] for target in targets):
            _give_back_volume(change, unit)
    for target in targets:
        problem = _redis_save.save(change, target)
        if problem:
            raise Refused("%s%s" % (problem, _overcommit(change)))


def check(change: Change) -> str:
    left = _redis_save.unsaved(change)
    return "Redis at %s still refuses writes" % left[0].label if left else ""


def _give_back(change: Change, unit: dict[str, Any]) -> None:
    process = change.host.stat("/proc/%d" % unit["pid"])
    folder = change.host.link("/proc/%d/cwd" % unit["pid"])  # Redis makes its data directory its working directory
    status = change.host.stat(folder) if folder.startswith("/") else None
    if process is None or status is None:
        raise Refused("the directory where %s saves is gone (%s); make it again and restart %s" % (unit["name"], folder, unit["name"]))
    if process.st_uid == 0:
        return
    try:
        account = pwd.getpwuid(process.st_uid)
    except KeyError:
        raise Refused("user %d, whom %s runs as, has no account; look by hand who owns %s" % (
            process.st_uid, unit["name"], folder)) from None
    user = User(account.pw_uid, account.pw_gid, frozenset(os.getgrouplist(account.pw_name, account.pw_gid)))
    if user.may(status, 3):
        return
    if os.path.realpath(account.pw_dir) != folder or not folder.startswith("/var/lib/"):
        raise Refused("%s may not write %s, where %s saves, and that is not the home of its account; if it is right: chown %s %s" % (
            account.pw_name, folder, unit["name"], account.pw_name, folder))
    gid = account.pw_gid if status.st_gid == 0 else status.st_gid
    change.attributes(folder, uid=account.pw_uid, gid=gid, mode=(status.st_mode & 0o7777) | 0o700)


def _give_back_volume(change: Change, unit: dict[str, Any]) -> None:
    """The volume itself, or a directory of the project; whose it is to be is a number that only the container has a name for."""
    pid = next((pid for pid in sorted(containers.processes(change.host, unit["name"]), key=int)
                if (change.host.maybe("/proc/%s/comm" % pid, 64) or "").strip() in SERVERS), "")
    process = change.host.stat("/proc/" + pid) if pid else None
    folder = change.host.link("/proc/%s/cwd" % pid) if pid else ""
    mount = composition.mount_of(unit, folder) if folder.startswith("/") else None
    if process is None or mount is None or mount["path"] != folder or not mount["source"].startswith("/"):
        raise Refused("%s saves in %s, which is no volume of its own; give it one, or see docker logs %s" % (
            unit["name"], folder or "a directory that is not known", unit["name"]))
    if not mount["writable"]:
        raise Refused("the compose file mounts %s read-only in %s; take that away there, then docker compose up -d" % (
            folder, unit["name"]))
    source = os.path.realpath(mount["source"])
    status = change.host.stat(source)
    if process.st_uid == 0 or status is None:
        return
    if User(process.st_uid, process.st_gid, frozenset([process.st_gid])).may(status, 3):
        return
    if mount["type"] != "volume" and not source.startswith(os.path.realpath(change.install["compose"]["directory"]) + "/"):
        raise Refused("user %d of %s may not write %s, which is neither a volume nor below the project; if it is right: chown %d %s" % (
            process.st_uid, unit["name"], source, process.st_uid, source))
    gid = process.st_gid if status.st_gid == 0 else status.st_gid
    change.attributes(source, uid=process.st_uid, gid=gid, mode=(status.st_mode & 0o7777) | 0o700)


def _overcommit(change: Change) -> str:
    """With 0 the kernel may refuse the copy of the process that saves, on a host with little memory left."""
    told = (change.host.maybe("/proc/sys/vm/overcommit_memory", 16) or "").strip()
    return "; if it speaks of fork or memory: sysctl vm.overcommit_memory=1" if told == "0" else ""
