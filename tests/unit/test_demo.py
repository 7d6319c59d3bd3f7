# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorded facts of the demo fit the catalogue of today: a fact that a known issue began to need means recording them anew."""

from __future__ import annotations

import json

from pathlib import Path

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils._catalogue import load
from ansible_collections.fediops.mastodon.plugins.plugin_utils._diagnosis import diagnose

FACTS = Path(__file__).parents[2] / "inventories" / "demo" / "facts"
RUN = {"id": "demo", "started": "2026-01-01T00:00:00Z", "seconds": 0.0, "collection": "1.0.0"}


@pytest.mark.parametrize(
    ("name", "verdict", "roots"),
    [
        ("healthy", "clear", set()),
        ("disk-full", "faults", {"disk_full"}),
        ("half-upgraded", "faults", {"pending_migrations", "assets_stale"}),
    ],
)
def test_each_server_shows_what_it_is_for(name: str, verdict: str, roots: set[str]) -> None:
    facts = json.loads((FACTS / f"{name}.json").read_text(encoding="utf-8"))
    host = diagnose({name: facts}, load(), now=facts["time_epoch"], run=RUN)["hosts"][name]
    assert (host["verdict"], {each["id"] for each in host["findings"] if each["rank"] == 1}) == (verdict, roots), "run: make demo-record"
    assert name != "healthy" or host["unknown"] == []
