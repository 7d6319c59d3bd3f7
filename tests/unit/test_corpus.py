# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository's own logs with known causes: enough of them for every cause, and each is recognised."""

from __future__ import annotations

import collections
import subprocess
import sys

from pathlib import Path

import yaml

from ansible_collections.fediops.mastodon.plugins.plugin_utils._catalogue import load
from ansible_collections.fediops.mastodon.plugins.plugin_utils._log_file import cases

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests" / "corpus").glob("*.yml"))
NOISE = "not_a_server_fault"


def test_every_cause_has_two_cases() -> None:
    entries = [entry for file in FILES for entry in yaml.safe_load(file.read_text(encoding="utf-8"))["cases"]]
    counted = collections.Counter(entry["cause"] for entry in entries)
    catalogue = load()
    causes = set(catalogue)
    # What no log shows: only a login shell, an engine, several hosts, a post tell.
    no_log_shows = {name for name, issue in catalogue.items() if not issue.signatures and not issue.alone}
    assert set(counted) <= causes
    assert {cause for cause in causes if counted[cause] < 2} == no_log_shows
    assert counted[NOISE] >= 15
    ids = [entry["id"] for entry in entries]
    assert len(ids) == len(set(ids))
    assert all(entry["id"].startswith(entry["cause"] + "-") for entry in entries)


def test_every_file_is_read_as_the_playbook_reads_it() -> None:
    assert FILES
    for file in FILES:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 400, file
        assert all(case.lines.strip() and case.where for case in cases(file)), file


def test_every_cause_is_named_as_the_only_root_and_noise_is_clear() -> None:
    asked = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "corpus"), "--quiet"], capture_output=True, text=True, timeout=300, check=False
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
