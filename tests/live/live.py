# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the live tests share: boxes of the testbed, and the product run against them as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ROOT / "tests" / "faults"
sys.path.insert(0, str(ROOT / "tests" / "testbed"))

from box import SUITES, Box  # noqa: E402
from box_machine import by_ssh  # noqa: E402

__all__ = ["FAULTS", "ONE_SUITE", "ROOT", "SUITES", "Box", "ansible", "box_for", "by_ssh", "diagnose", "inventory", "preloaded"]

# Both in the thorough run, one in the short one.
ONE_SUITE = ["trixie", pytest.param("bookworm", marks=pytest.mark.thorough)]


def box_for(suite: str, known: Mapping[str, Any]) -> Box:
    """A box with what a fault needs of the machine. ``known``: its fault.yml."""
    return Box.start(suite, **{need: bool(known.get(need)) for need in ("kmsg", "loop", "net_admin")})


def inventory(folder: Path, *boxes: Box, **variables: Any) -> Path:
    """An inventory of boxes, reached through the engine if they know no other way."""
    shared = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3", **variables}
    hosts = {box.name: {"suite": box.suite, **box.reached_by(folder)} for box in boxes}
    path = folder / "inventory.json"
    path.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
    return path


def preloaded(source: str, folder: Path) -> Path:
    """A library for LD_PRELOAD, of C."""
    subprocess.run([ROOT / "tools" / "packages", "gcc", "libc6-dev"], check=True)
    (folder / "preloaded.c").write_text(source)
    library = folder / "preloaded.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, folder / "preloaded.c", "-ldl"], check=True)
    return library


def ansible(
    *arguments: str | Path, program: str = "ansible-playbook", cwd: Path | None = None, timeout: float = 600, **settings: str
) -> subprocess.CompletedProcess[str]:
    """ansible-playbook of this environment, or another of Ansible's programs; stdout and stderr together in stdout."""
    environment = dict(
        os.environ,
        ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
        ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".ansible" / "collections"),
        ANSIBLE_FORCE_COLOR="0",
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_HOST_KEY_CHECKING="False",
        **settings,
    )
    command = [str(Path(sys.executable).parent / program), *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=cwd or ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        check=False,
    )


def diagnose(box: Box, folder: Path, *arguments: str | Path, plant: str = "") -> tuple[dict[str, Any], str]:
    """Plant a fault (if named) and diagnose, in one run of Ansible; the diagnosis and all that was printed."""
    playbooks = [ROOT / "playbooks" / "diagnose.yml"]
    if plant:
        playbooks.insert(0, FAULTS / "plant.yml")
    done = ansible(
        *playbooks, "-i", inventory(folder, box), "-e", f"mastodon_report_dir={folder / 'report'}", "-e", f"fault={plant}", *arguments
    )
    report = folder / "report" / "diagnosis.json"
    assert report.exists(), done.stdout
    return json.loads(report.read_text()), done.stdout
