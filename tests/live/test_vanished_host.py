# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that vanishes while it is looked at: nothing refuses, nothing ends, and nobody waits for hours."""

from __future__ import annotations

import json
import subprocess
import threading
import time

from pathlib import Path

import pytest

from live import ROOT, Box, ansible, by_ssh, inventory


class SshBox(Box):
    """Not reached through the engine, which knows when a box is gone."""

    def reached_by(self, folder: Path) -> dict[str, str]:
        key = folder / "key"
        subprocess.run([ROOT / "tools" / "packages", "openssh-client"], check=True)
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", key], check=True)
        self.put("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), 0o600)
        return by_ssh(self.address, key)


def vanish(box: Box) -> None:
    """Freeze it as soon as somebody looks at it."""
    end = time.monotonic() + 60
    while time.monotonic() < end and box.run(["pgrep", "-x", "python3"], check=False).rc:
        time.sleep(0.1)
    box.container.pause()


@pytest.mark.thorough
def test_others_are_diagnosed(tmp_path: Path) -> None:
    with SshBox.start("trixie") as gone, Box.start("trixie") as other:
        gone.ready()
        other.ready()
        gone.run("pkill -STOP redis-server")  # so that looking at it takes seconds
        hosts = inventory(tmp_path, gone, other)
        freezer = threading.Thread(target=vanish, args=(gone,))
        freezer.start()
        begin = time.monotonic()
        done = ansible(ROOT / "playbooks" / "diagnose.yml", "-i", hosts, "-e", f"mastodon_report_dir={tmp_path / 'report'}", timeout=240)
        took = time.monotonic() - begin
        freezer.join()
        diagnosis = json.loads((tmp_path / "report" / "diagnosis.json").read_text())["hosts"]
        assert done.returncode and diagnosis[other.name]["verdict"] == "clear", done.stdout
        assert "could not be looked at: unreachable" in done.stdout and took > 60, done.stdout
