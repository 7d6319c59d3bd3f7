# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swap is the kernel's, so it is added to this machine for a moment and taken back; a container refuses."""

from __future__ import annotations

import os
import pathlib
import time

from pathlib import Path
from typing import Any

import pytest

from live import Box
from one_fix import apply
from proof import differences, picture

from ansible_collections.fediops.mastodon.plugins.module_utils._change import journal as journals
from ansible_collections.fediops.mastodon.plugins.module_utils._change import undo
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Asked, Change
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _swapfile, add_swap
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import disk, memory

RUN = "2026-11-21T09-12-44Z-3f2a"
SIZE = 64 << 20


def test_swap_is_added_used_and_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fix itself on this machine's own ext4 and kernel; /etc/fstab is a copy, because this machine is not ours to configure."""
    monkeypatch.setattr(journals, "PLACES", (str(tmp_path / "journal"),))
    monkeypatch.setattr(add_swap, "refuse_containers", lambda change: None)  # this machine may call itself one and can swap all the same
    table = tmp_path / "fstab"
    table.write_text("# this machine\n/dev/vda / ext4 defaults 0 1")
    monkeypatch.setattr(add_swap, "TABLE", str(table))
    monkeypatch.setattr(_swapfile, "NAME", "fediops-test-%d.swap" % os.getpid())
    host = Host(time.monotonic() + 60)
    install: dict[str, Any] = {"found": False, "units": [], "deployment": "systemd"}
    facts = {"memory": memory.observe(host, install), "disk": disk.observe(host, install)}
    step: dict[str, Any] = {
        "number": 1,
        "fix": "add_swap",
        "options": {"size_bytes": str(facts["memory"]["swap_bytes"] + SIZE)},
        "state": "acting",
        "changes": [],
        "undoable": True,
        "services": {},
    }
    rehearsed = Change(dict(step, changes=[]), None, facts, install, {})
    add_swap.fix(rehearsed)
    path = f"/{_swapfile.NAME}"
    assert len(rehearsed.step["changes"]) == 2 and not os.path.exists(path)
    journal = journals.Journal.create(RUN, "", [step])
    change = Change(step, journal, facts, install, {})
    try:
        add_swap.fix(change)
        used = _swapfile.in_use(pathlib.Path("/proc/swaps").read_text())
        assert SIZE - (1 << 20) < used[path] <= SIZE
        assert (oct(os.stat(path).st_mode & 0o7777), os.stat(path).st_uid) == ("0o600", 0)
        assert table.read_text() == f"# this machine\n/dev/vda / ext4 defaults 0 1\n{path} none swap sw 0 0\n"
        assert add_swap.check(change) == "" and change.asked.reload_units
        again = Change(dict(step, changes=[]), journal, dict(facts, memory=memory.observe(host, install)), install, {})
        add_swap.fix(again)
        assert again.step["changes"] == []
    finally:
        problems = undo.take_back(host, journal, step, add_swap.UNDO, Asked())
    assert problems == [] and not os.path.exists(path)
    assert path not in _swapfile.in_use(pathlib.Path("/proc/swaps").read_text())
    assert table.read_text() == "# this machine\n/dev/vda / ext4 defaults 0 1"


def test_a_container_refuses(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        before = picture(box)
        step, _run = apply(box, tmp_path, "add_swap", size_bytes=str(64 << 20))
        assert step["state"] == "refused" and "container (docker)" in step["reason"], step
        assert differences(before, picture(box)) == []
