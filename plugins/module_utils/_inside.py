# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running container as its own processes see it: their files, mounts and network (private, may change any time).

The process of a subset moves into the container's network and, with chroot, to its root; then paths, links, volumes and names lead where
they lead the app. Nothing that belongs to the container is ever executed in this process: modules are loaded before, users and names are
read by our own code (no NSS plug-ins of the image), and commands are started inside the container by its engine, as any `docker exec`.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import os
import socket
import sys

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils import _resolver
from ansible_collections.fediops.mastodon.plugins.module_utils._engine import Engine
from ansible_collections.fediops.mastodon.plugins.module_utils._host import MAX_OUTPUT_BYTES, Host, HostDenied, HostError, Owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import Completed

CLONE_NEWNET = 0x40000000  # linux/sched.h
PF_EXITING = 4  # linux/sched.h; the first process of a container that ends is there until all others are gone
LATE = ("encodings.idna", "heapq", "ssl")  # the standard library loads them when a name, most_common or TLS is asked for


class Inside(Host):
    """The host of a subset whose process has moved into a container. Made by `enter`."""

    def __init__(self, deadline: float, unit: dict[str, Any], socket_name: str, proc: int, silent: dict[str, str]) -> None:
        """`silent`: names of services of the project that do not run, with that of their container."""
        super().__init__(deadline)
        self._silent = silent
        self._container = unit["_container"]
        self._name = unit["name"]
        self._pid = unit["pid"]
        self._proc = proc
        # chroot leaves the working directory where it was: the engine's socket stays reachable by its bare name.
        self._engine = Engine(self, lambda seconds: _as_root(lambda: Host.connect(self, socket_name, seconds)))

    def _at(self, path: str) -> tuple[str, int | None]:
        # The container's own /proc knows neither this process nor the ids that the host knows.
        return (path[6:], self._proc) if path.startswith("/proc/") else (path, None)

    def user(self, uid_or_name: int | str) -> Owner | None:
        for fields in self._entries("/etc/passwd", 7):
            if uid_or_name in (fields[0], int(fields[2])):
                return Owner(fields[0], int(fields[2]), int(fields[3]), fields[5], fields[6])
        return None

    def group_name(self, gid: int) -> str:
        return next((fields[0] for fields in self._entries("/etc/group", 4) if int(fields[2]) == gid), str(gid))

    def demand_running(self) -> None:
        """HostError when it ended: its network is gone and commands in it were killed, which says nothing about what was asked."""
        names = ("/proc/%d/%s" % (self._pid, name) for name in ("stat", "cgroup"))
        told, group = _as_root(lambda: [self.maybe(path, 16384) or "" for path in names])  # proc may be mounted with hidepid
        status = told.rpartition(")")[2].split()
        if len(status) < 7 or int(status[6]) & PF_EXITING or self._container not in group:
            raise HostError("the container %s ended while it was looked into; its log says why if that goes on" % self._name)

    def _entries(self, path: str, fields: int) -> list[list[str]]:
        lines = [line.split(":") for line in (self.maybe(path, 1 << 18) or "").splitlines()]
        return [each for each in lines if len(each) == fields and all(word.isdigit() for word in each[2:fields - 1 if fields == 4 else 4])]

    def become(self, owner: Owner) -> None:
        """Be that user for what is read and asked from here on; what was root stays in store, for the engine's socket alone."""
        os.setgroups([])
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, 0)

    def run(self, argv: Sequence[str], seconds: float = 5.0, max_bytes: int = MAX_OUTPUT_BYTES, owner: Owner | None = None,
            environment: dict[str, str] | None = None) -> Completed:
        """Run a command in the container, as its own user unless it is root's: the engine starts it there."""
        done = self._engine.run(self._container, argv, seconds, max_bytes, "", environment)
        if done.rc in (126, 127) and not done.err:
            raise HostError("command %s could not be started in the container" % argv[0])
        return done

    def connect(self, address: str | tuple[str, int], seconds: float = 4.0) -> socket.socket:
        if isinstance(address, str):
            return super().connect(address, seconds)
        if address[0] in self._silent:
            # The name server knows only what runs; "no such name" would send the reader to the settings.
            raise ConnectionRefusedError(errno.ECONNREFUSED, "the container %s of this name does not run" % self._silent[address[0]])
        return _resolver.connect(_resolver.lookup(self, address[0]), address[1], lambda: self.left(seconds))


def _as_root(act: Any) -> Any:
    """Do this with the rights that `become` put aside."""
    effective = os.geteuid()
    if effective != 0 and os.getresuid()[2] == 0:
        os.seteuid(0)
        try:
            return act()
        finally:
            os.seteuid(effective)
    return act()


def enter(host: Host, unit: dict[str, Any], engine: str, silent: dict[str, str]) -> Inside:
    """Move this process, which must be a subset's own, into the container of a unit; all modules it needs must be loaded by now."""
    if os.geteuid() != 0:
        raise HostDenied("only root can look into containers; run with become: true")
    pid = unit["pid"]
    for name in LATE:
        importlib.import_module(name)
    try:
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        network = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY | os.O_CLOEXEC)
        root = os.open("/proc/%d/root" % pid, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Only now: had the process ended meanwhile, another could have its number.
        if unit["_container"] not in (host.maybe("/proc/%d/cgroup" % pid, 16384) or ""):
            raise HostError("the container %s was stopped in this very moment" % unit["name"])
        if ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        folder, _slash, name = engine.rpartition("/")
        outside = os.open(folder or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(root)
        os.chroot(".")
        os.fchdir(outside)
    except OSError as problem:
        raise HostError("the container %s could not be looked into: %s" % (
            unit["name"], os.strerror(problem.errno) if problem.errno else problem)) from None
    finally:
        # An import from here on would take the container's code for ours.
        sys.path[:] = []
        sys.path_importer_cache.clear()
    return Inside(host.deadline, unit, name, proc, silent)
