# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A compose project on this machine, for tests that take this machine itself for the managed host, over a local connection.

A box has no engine of its own (tests/testbed/README.md). What is cured here has its journal in /var/lib/fediops.mastodon of this machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import ROOT, ansible

sys.path.insert(0, str(ROOT / "tests" / "testbed" / "compose"))

from project import Project, small_filesystem  # noqa: E402

# Both generations of compose, which name containers and write labels differently, and both releases; in the short run one of them.
KINDS = [("trixie", 2), pytest.param(("bookworm", 1), marks=pytest.mark.thorough)]


RUNS = Path("/var/lib/fediops.mastodon")


@contextlib.contextmanager
def this_machine() -> Iterator[None]:
    """This machine for one at a time, as one that was never remediated: its own journals, if it has any, are put aside."""
    aside = RUNS.with_name(RUNS.name + ".aside")
    with (Path(tempfile.gettempdir()) / "fediops-test-compose.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if RUNS.exists() and not aside.exists():
            RUNS.rename(aside)
        try:
            yield
        finally:
            shutil.rmtree(RUNS, ignore_errors=True)
            if aside.exists():
                aside.rename(RUNS)


@pytest.fixture(scope="module", params=KINDS, ids=["4.4-compose-2", "4.1-compose-1"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    assert os.geteuid() == 0, "looking into containers needs root on this machine"
    suite, generation = request.param
    folder = tmp_path_factory.mktemp("composed")
    with this_machine(), small_filesystem(folder / "media") as media, Project.start(suite, generation, folder, media) as started:
        yield started


def played(project: Project, folder: Path, playbook: str = "diagnose", *arguments: str) -> tuple[dict[str, Any], str]:
    """What a playbook finds on this machine for this project: its host in diagnosis.json, and all that was printed."""
    inventory = folder / "inventory.json"
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3", "mastodon_root": str(project.directory)}
    inventory.write_text(json.dumps({"all": {"hosts": {"composed": variables}}}))
    report = folder / "report"
    done = ansible(ROOT / "playbooks" / f"{playbook}.yml", "-i", inventory, "-e", f"mastodon_report_dir={report}", *arguments)
    assert (report / "diagnosis.json").exists(), done.stdout
    host: dict[str, Any] = json.loads((report / "diagnosis.json").read_text())["hosts"]["composed"]
    return host, done.stdout


def roots(host: dict[str, Any]) -> list[str]:
    return [finding["id"] for finding in host["findings"] if finding["rank"] == 1]


def told(host: dict[str, Any]) -> str:
    return json.dumps({key: host.get(key) for key in ("findings", "unknown", "probes")}, indent=1)[:6000]


@contextlib.contextmanager
def put_back(project: Project, name: str) -> Iterator[Path]:
    """A file of the project, to be changed; afterwards it is as before, and the containers are made anew from it."""
    path = project.directory / name
    before = path.read_text()
    try:
        yield path
    finally:
        path.write_text(before)
        project.compose("up", "-d")
        project.ready()


@contextlib.contextmanager
def settings(project: Project, **keys: str) -> Iterator[None]:
    with put_back(project, ".env.production"):
        project.write_env(**keys)
        project.compose("up", "-d")
        if "RAILS_ENV" in keys:  # it dies of that, again and again
            time.sleep(20)
        else:
            project.wait_for_web()
            for _time in range(4):
                project.post("with other settings")
        yield


@contextlib.contextmanager
def edited(project: Project, old: str, new: str) -> Iterator[None]:
    """Another compose file, its containers made anew."""
    with put_back(project, "docker-compose.yml") as path:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        project.compose("up", "-d")
        yield


def back(project: Project, folder: Path, cured: dict[str, Any]) -> None:
    """Take the remediation back that cured this host."""
    _host, output = played(project, folder, "rollback", "-e", f"run={cured['remediation']['run']}")
    assert "failed=0" in output, output


def cured(project: Project, folder: Path, cause: str, impact: str = "change") -> dict[str, Any]:
    """The cause is named first and alone and cured, and a second run has nothing to do; the host as the first one left it."""
    remediate = ("remediate", "-e", f"mastodon_remediate_impact={impact}")
    host, _output = played(project, folder)
    assert roots(host) == [cause], told(host)
    host, output = played(project, folder, *remediate)
    assert (host["verdict"], roots(host)) == ("clear", []), told(host) + output[-3000:]
    again, output = played(project, folder, *remediate)
    assert "changed=0" in output, told(again) + output[-3000:]
    return host
