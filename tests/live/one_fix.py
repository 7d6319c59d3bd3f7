# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One fix on one box, as mastodon_fix does it, without a plan and a diagnosis around it."""

from __future__ import annotations

import json

from pathlib import Path
from typing import Any

from live import FAULTS, Box, ansible, inventory

PYTHON = "/usr/local/bin/python3-in-memory"
_in_memory: set[str] = set()


def use_memory(box: Box) -> None:
    """Reach this box as the playbooks of this collection do (TMPDIR): without a free byte it still has memory."""
    box.put(PYTHON, '#!/bin/sh\nTMPDIR=/dev/shm exec /usr/bin/python3 "$@"\n', 0o755)
    _in_memory.add(box.name)


def module(box: Box, folder: Path, name: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """One call of a module of this collection; its result."""
    folder.mkdir(exist_ok=True)
    memory = {"ansible_python_interpreter": PYTHON, "ansible_remote_tmp": "/dev/shm"} if box.name in _in_memory else {}
    command = ["-i", inventory(folder, box, **memory), "all", "-m", f"fediops.mastodon.{name}"]
    command += [*(["-a", json.dumps(arguments)] if arguments else []), *(["--check"] if check else []), "--diff"]
    done = ansible(*command, program="ansible", timeout=900)
    start = done.stdout.find("=> {")
    assert start >= 0, done.stdout
    result: dict[str, Any] = json.JSONDecoder().raw_decode(done.stdout, start + 3)[0]
    return result


def finished(box: Box, folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Follow a run to its end."""
    while result.get("working"):
        result = dict(module(box, folder, "mastodon_fix", state="followed", run=result["run"]["id"]), changed=result["changed"])
    assert "run" in result, result
    return result


def foresee(box: Box, folder: Path, fix: str, **options: Any) -> dict[str, Any]:
    """The step of a fix in check mode."""
    step: dict[str, Any] = module(box, folder, "mastodon_fix", check=True, steps=[{"fix": fix, "options": options}])["run"]["steps"][0]
    return step


def apply(box: Box, folder: Path, fix: str, **options: Any) -> tuple[dict[str, Any], str]:
    """Apply a fix, keep it, and give its step and the run's id."""
    result = finished(box, folder, module(box, folder, "mastodon_fix", steps=[{"fix": fix, "options": options}]))
    run = result["run"]["id"]
    if result["run"]["state"] == "acted":  # not so when nothing was changed: there is nothing to judge
        result = finished(box, folder, module(box, folder, "mastodon_fix", state="settled", run=run))
    step: dict[str, Any] = result["run"]["steps"][0]
    step["problems"] = result["run"].get("problems", [])
    return step, run


def roll_back(box: Box, folder: Path, run: str) -> dict[str, Any]:
    result = finished(box, folder, module(box, folder, "mastodon_fix", state="rolled_back", run=run))
    step: dict[str, Any] = result["run"]["steps"][0]
    return step


def plant(box: Box, folder: Path, fault: str) -> None:
    folder.mkdir(exist_ok=True)
    done = ansible(FAULTS / "plant.yml", "-i", inventory(folder, box), "-e", f"fault={fault}")
    assert done.returncode == 0, done.stdout
