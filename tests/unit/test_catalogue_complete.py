# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A walk over the catalogue: nothing that a known issue needs elsewhere is missing.

Titles, advice and sources in both languages and a fix or the reason for having none are demanded by the loader itself.
"""

from __future__ import annotations

import subprocess

from pathlib import Path

import pytest
import yaml

from ansible_collections.fediops.mastodon.plugins.plugin_utils._catalogue import load

ROOT = Path(__file__).parents[2]
CATALOGUE = load()


def test_the_documentation_has_a_row_for_each() -> None:
    made = subprocess.run([str(ROOT / "tools" / "known-issues")], check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs" / "known-issues.md").read_text(encoding="utf-8") == made, "run: tools/known-issues > docs/known-issues.md"


def test_each_is_planted_for_real() -> None:
    planted = {yaml.safe_load(path.read_text(encoding="utf-8"))["cause"] for path in (ROOT / "tests" / "faults").glob("*/fault.yml")}
    # A symptom: it shows in nearly every fault, and alone only for what nobody knows.
    assert planted == set(CATALOGUE) - {"web_errors_5xx"}


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_each_explains_what_people_see(name: str) -> None:
    """Faults that make requests fail say so, else the failed requests would stand beside them as a cause of their own."""
    # Posting works all the same.
    quiet = {"web_errors_5xx", "sidekiq_not_running", "sidekiq_queue_missing", "sidekiq_backlog", "login_shell_rails_env"}
    assert ("web_errors_5xx" in CATALOGUE[name].explains) == (name not in quiet)
