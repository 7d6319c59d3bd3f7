# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much swap, where, and the line of /etc/fstab."""

from __future__ import annotations

import os
import types
import typing as t

from pathlib import Path

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _swapfile, add_swap

GIB = 1 << 30


def facts(ram: float, available: float, swap: float = 0, free: float | None = None) -> dict[str, int]:
    return {
        "ram_bytes": int(ram * GIB),
        "available_bytes": int(available * GIB),
        "swap_bytes": int(swap * GIB),
        "swap_free_bytes": int((swap if free is None else free) * GIB),
    }


@pytest.mark.parametrize(
    ("memory", "bundler", "gibibytes"),
    [
        (facts(1, 0.3), "vite", 2),
        (facts(2, 1), "vite", 4),
        (facts(4, 3), "webpacker", 4),
        (facts(16, 12), "webpacker", 4),
        (facts(16, 12, 4), "webpacker", 0),
        (facts(4, 0.5, 4, 0.5), "webpacker", 1),
        (facts(1, 0.1, 2, 0), "vite", 1.4),
    ],
)
def test_what_is_missing(memory: dict[str, int], bundler: str, gibibytes: float) -> None:
    assert round(max(0, add_swap.enough(memory, bundler)) / GIB, 1) == gibibytes


def filesystem(mount: str, kind: str, available: float, size: float = 40, read_only: bool = False) -> dict[str, t.Any]:
    return {"mount": mount, "type": kind, "available_bytes": int(available * GIB), "size_bytes": int(size * GIB), "read_only": read_only}


@pytest.mark.parametrize(
    ("filesystems", "expected"),
    [
        ([filesystem("/", "ext4", 20), filesystem("/data", "xfs", 30)], ("/fediops.swap", "ext4")),
        ([filesystem("/", "ext4", 5), filesystem("/data", "xfs", 30)], ("/data/fediops.swap", "xfs")),
        ([filesystem("/", "overlay", 20), filesystem("/run", "tmpfs", 20), filesystem("/srv", "ext4", 9)], ("/srv/fediops.swap", "ext4")),
        ([filesystem("/", "btrfs", 20)], ("/fediops.swap/file", "btrfs")),
        ([filesystem("/a", "btrfs", 20), filesystem("/b", "ext4", 10)], ("/b/fediops.swap", "ext4")),
    ],
)
def test_where(filesystems: list[dict[str, t.Any]], expected: tuple[str, str]) -> None:
    change: t.Any = types.SimpleNamespace(facts={"disk": {"filesystems": filesystems}})
    assert _swapfile.place(change, 2 * GIB) == expected


@pytest.mark.parametrize(
    "filesystems",
    [
        [],
        [filesystem("/", "ext4", 20, read_only=True)],
        [filesystem("/", "tmpfs", 20), filesystem("/n", "nfs4", 90), filesystem("/z", "zfs", 90)],
        [filesystem("/", "ext4", 2.5)],
        [filesystem("/", "ext4", 30, 400)],
    ],
)
def test_nowhere(filesystems: list[dict[str, t.Any]]) -> None:
    change: t.Any = types.SimpleNamespace(facts={"disk": {"filesystems": filesystems}})
    with pytest.raises(Refused, match="no filesystem can take a swap file of 2.0 GiB"):
        _swapfile.place(change, 2 * GIB)


def test_mount_points_that_fstab_would_read_otherwise() -> None:
    change: t.Any = types.SimpleNamespace(facts={"disk": {"filesystems": [filesystem("/my disk", "ext4", 20)]}})
    with pytest.raises(Refused, match="gives a meaning of its own"):
        _swapfile.place(change, GIB)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", "/s none swap sw 0 0\n"),
        ("# x\n/dev/a / ext4 defaults 0 1", "# x\n/dev/a / ext4 defaults 0 1\n/s none swap sw 0 0\n"),
        ("/s none swap sw 0 0\n", "/s none swap sw 0 0\n"),
        ("#/s none swap sw 0 0\n", "#/s none swap sw 0 0\n/s none swap sw 0 0\n"),
        ("/s2 none swap sw 0 0\n", "/s2 none swap sw 0 0\n/s none swap sw 0 0\n"),
    ],
)
def test_the_line(table: str, expected: str) -> None:
    assert _swapfile.with_line(table, "/s") == expected
    assert _swapfile.with_line(expected, "/s") == expected


def test_what_the_kernel_swaps_to() -> None:
    table = "Filename\tType\tSize\tUsed\tPriority\n/s file 65532 0 -2\n/my\\040disk/s\\134 file 1 0 -3\nbroken\n"
    assert _swapfile.in_use(table) == {"/s": 65532 << 10, "/my disk/s\\": 1024}


def test_no_swap_file_where_somebody_else_may_turn_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root writes gigabytes of zeros to that name: as a link to /dev/sda it would be the end of the server."""
    theirs = tmp_path / "home"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    for mode in (0o755, 0o777):
        theirs.chmod(mode)
        room = {"mount": str(theirs), "type": "ext4", "read_only": False, "available_bytes": 100 << 30, "size_bytes": 100 << 30}
        change = Change(run.new_steps([{"fix": "add_swap"}])[0], None, {"disk": {"filesystems": [room]}}, {}, {})
        with pytest.raises(Refused, match="no filesystem can take a swap file"):
            _swapfile.place(change, 1 << 30)
        os.chown(theirs, 0, 0)
    theirs.chmod(0o755)
    assert _swapfile.place(change, 1 << 30) == (f"{theirs}/fediops.swap", "ext4")
