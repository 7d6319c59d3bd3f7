# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A remediation that something broke off: nothing is left half edited, and the next one cures.

The worker is shot between two acts of each fix of several; the controller is shot; the server loses its power. Those of the database and
of the assets, whose commands outlive a worker, are in test_fix_database and test_fix_assets.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import FAULTS, ROOT, SUITES, Box, ansible, inventory
from one_fix import finished, module
from proof import differences, picture, prove
from test_faults import described
from test_remediation import EVERYTHING, play

REMEDIATE = ROOT / "playbooks" / "remediate.yml"
COLLECTIONS = ROOT / ".ansible" / "collections"
RUNS = "/var/lib/fediops.mastodon/runs"
# Fault to the number of acts that are written down when the shot falls: the last of them may be done, half done or not begun.
SHOTS = {
    "ffmpeg_missing": 1,
    "media_filesystem_full": 1,
    "media_outside_sandbox": 1,
    "media_owned_by_root": 1,
    "pool_of_one": 1,
    "proxy_waits_too_briefly": 1,
    "queues_without_worker": 1,
    "rails_env_development": 1,
    "redis_directory_lost": 1,
}
SHOOTER = """
import glob, json, os, signal, sys, time
end = time.time() + 300
while time.time() < end:
    for path in glob.glob("RUNS/*/*/journal.jsonl"):
        with open(path) as stream:
            acts = stream.read().count("\\n")
        if acts >= int(sys.argv[1]):
            with open(os.path.dirname(os.path.dirname(path)) + "/run.json") as stream:
                os.kill(json.load(stream)["pid"], signal.SIGKILL)
            print("shot", acts)
            sys.exit(0)
sys.exit(1)
""".replace("RUNS", RUNS)


def run_of(box: Box) -> dict[str, Any]:
    """The only run there is; {} when there is none."""
    names = box.run(f"ls {RUNS} 2>/dev/null", check=False).out.split()
    found: dict[str, Any] = json.loads(box.get(f"{RUNS}/{names[0]}/run.json")) if names else {}
    return found


def plant(box: Box, folder: Path, fault: str) -> None:
    done = ansible(FAULTS / "plant.yml", "-i", inventory(folder, box), "-e", f"fault={fault}")
    assert done.returncode == 0, done.stdout


def cured_by_the_next(box: Box, folder: Path, *options: str) -> dict[str, Any]:
    """Remediate until the end, whatever was left open finished and judged; the remediation of this host."""
    host, output, code = play(box, folder, [REMEDIATE], *EVERYTHING, *options)
    assert code == 0, output
    prove(box)
    again, output, code = play(box, folder, [REMEDIATE], *EVERYTHING, *options)
    assert code == 0 and again["findings"] == [] and "changed=0" in output, output
    told: dict[str, Any] = host["remediation"]
    return told


@pytest.mark.thorough
@pytest.mark.parametrize("fault", SHOTS)
def test_worker_shot_between_two_acts(fault: str, tmp_path: Path) -> None:
    known = described(fault)
    with Box.start(SUITES[list(SHOTS).index(fault) % 2], loop=known.get("loop", False)) as box:
        box.ready()
        plant(box, tmp_path, fault)
        sick = picture(box, units=False)
        box.put("/run/shooter.py", SHOOTER)
        box.run(["sh", "-c", 'python3 /run/shooter.py "$1" >/run/shot 2>&1 &', "shooter", str(SHOTS[fault])])
        _host, output, code = play(box, tmp_path / "shot", [REMEDIATE], *EVERYTHING)
        assert code != 0 and "broke off" in output and "shot" in box.run("cat /run/shot").out, output

        # Its controller has given up, so nobody waits for the end of the lease.
        box.run(f"for lease in {RUNS}/*/lease; do echo 0 >$lease; done")
        recovered = finished(box, tmp_path, module(box, tmp_path, "mastodon_fix", steps=[]))
        left = json.loads(box.get(f"{RUNS}/{recovered['run']['recovered'][0]}/run.json"))
        states = {step["state"] for step in left["steps"]}
        assert left["state"] == ("acted" if "applied" in states else "settled") and left["services_done"] and not left.get("problems"), left
        assert states <= {"undone", "kept", "failed", "refused", "applied"}, left
        if states <= {"undone", "refused"}:
            assert differences(sick, picture(box, units=False)) == [], left
        cured_by_the_next(box, tmp_path / "cured")


def begun(box: Box, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """A remediation in a session of its own that has just written its first act down."""
    command = [Path(sys.executable).parent / "ansible-playbook", REMEDIATE, "-i", inventory(folder, box), *EVERYTHING, *options]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    running = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 180
    while not box.run(f"ls {RUNS}/*/*/journal.jsonl 2>/dev/null", check=False).out:
        assert time.monotonic() < end and running.poll() is None
        time.sleep(0.1)
    return running


@contextlib.contextmanager
def broken_off(suite: str, folder: Path) -> Iterator[tuple[Box, subprocess.Popen[bytes]]]:
    """A box on which a remediation works; whatever is done to it, the next one takes the run over and cures."""
    with Box.start(suite) as box:
        box.ready()
        plant(box, folder, "media_outside_sandbox")
        yield box, begun(box, folder)
        told = cured_by_the_next(box, folder / "cured")
        assert len(told["recovered"]) == 1, told


@pytest.mark.thorough
def test_controller_shot(tmp_path: Path) -> None:
    """The host goes on by itself; who comes next waits for the lease."""
    with broken_off("trixie", tmp_path) as (_box, running):
        # Ansible's workers are leaders of sessions of their own.
        subprocess.run(["pkill", "-KILL", "-f", str(tmp_path / "inventory.json")], check=True)
        running.wait(timeout=30)


@pytest.mark.thorough
def test_power_lost(tmp_path: Path) -> None:
    """Nothing of the worker is left, nor of /run: the journal alone tells the next run."""
    with broken_off("bookworm", tmp_path) as (box, running):
        box.container.kill()
        running.wait(timeout=300)  # it tries to reach the host again for two minutes
        box.container.start()
        assert box.wait_for_services(), "the services do not come up"
        assert run_of(box)["state"] == "acting"
