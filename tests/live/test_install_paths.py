# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which a user comes to this collection, on the recorded demo: README's command, runner project, installed tarball."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SHIPPED = set("CHANGELOG.md FILES.json LICENSE MANIFEST.json README.md changelogs docs inventories meta playbooks plugins roles".split())


def run(folder: Path, *command: str, code: int = 0, **environment: str) -> str:
    """Output of a command, run as somebody who knows nothing of this checkout would."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MAKE", "MFLAGS", "PYTEST_"))}
    kept["PATH"] = f"{BIN}{os.pathsep}{kept['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=kept | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=300,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def assert_diagnosed(report: Path, output: str) -> None:
    diagnosis = json.loads((report / "diagnosis.json").read_text(encoding="utf-8"))
    assert diagnosis["verdict"] == "faults"
    assert len(diagnosis["hosts"]) == 3
    assert {host["verdict"] for host in diagnosis["hosts"].values()} >= {"faults"}
    assert {path.name for path in report.iterdir()} == {"diagnosis.json", "index.html", "report.md", "junit.xml"}
    for host, found in diagnosis["hosts"].items():
        assert host in output
        assert found["recorded"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "my checkout"
    run(tmp_path, "git", "clone", "--quiet", str(ROOT), str(folder))
    return folder


def test_make_diagnose_in_a_fresh_clone(clone: Path, tmp_path: Path) -> None:
    output = run(clone, "make", "diagnose")
    assert "recorded" in output
    assert_diagnosed(clone / "mastodon-report", output)

    shutil.copytree(clone / "inventories" / "demo", tmp_path / "own")
    report = tmp_path / "report"
    arguments = f"ARGS=-e mastodon_report_dir={report}"
    output = run(clone, "make", "diagnose", "INVENTORY=../own/hosts.yml", arguments)
    assert_diagnosed(report, output)
    shutil.rmtree(clone / "mastodon-report")
    output = run(tmp_path, "make", "-C", str(clone), "diagnose", "INVENTORY=own/hosts.yml", PWD=str(tmp_path))
    assert_diagnosed(tmp_path / "mastodon-report", output)
    assert not (clone / "mastodon-report").exists()
    output = run(clone, "make", "diagnose", "INVENTORY=no-such.yml", code=2)
    assert "No inventory at no-such.yml." in output


def test_ansible_runner_project(clone: Path, tmp_path: Path) -> None:
    data = tmp_path / "runner"
    data.mkdir()
    clone.rename(data / "project")
    inventory = data / "project" / "inventories" / "demo" / "hosts.yml"
    output = run(tmp_path, "ansible-runner", "run", str(data), "-p", "playbooks/diagnose.yml", "--inventory", str(inventory))
    assert_diagnosed(data / "project" / "mastodon-report", output)


def test_installed_tarball(clone: Path, tmp_path: Path) -> None:
    run(clone, "ansible-galaxy", "collection", "build", "--output-path", str(tmp_path))
    (tarball,) = tmp_path.glob("fediops-mastodon-*.tar.gz")
    with tarfile.open(tarball) as archive:
        assert {name.split("/")[0] for name in archive.getnames()} == SHIPPED
    collections = tmp_path / "collections"
    run(tmp_path, "ansible-galaxy", "collection", "install", "--offline", "-p", str(collections), str(tarball))
    inventory = collections / "ansible_collections" / "fediops" / "mastodon" / "inventories" / "demo" / "hosts.yml"
    output = run(tmp_path, "ansible-playbook", "fediops.mastodon.diagnose", "-i", str(inventory), ANSIBLE_COLLECTIONS_PATH=str(collections))
    assert_diagnosed(tmp_path / "mastodon-report", output)
