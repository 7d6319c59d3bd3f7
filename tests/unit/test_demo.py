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
from ansible_collections.fediops.mastodon.plugins.plugin_utils._waivers import read_waivers

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


def test_a_symptom_of_a_waived_cause_is_not_called_unknown() -> None:
    facts = json.loads((FACTS / "disk-full.json").read_text(encoding="utf-8"))
    catalogue = load()
    options = {"now": facts["time_epoch"], "run": RUN}
    found = diagnose({"web1": facts}, catalogue, **options)["hosts"]["web1"]["findings"]
    causes = [finding["id"] for finding in found if finding["explains"]]
    waivers = read_waivers([{"id": name, "reason": "moved on Monday", "until": "2099-12-31"} for name in causes], catalogue)
    (symptom,) = diagnose({"web1": facts}, catalogue, waivers=waivers, **options)["hosts"]["web1"]["findings"]
    assert symptom["id"] == "web_errors_5xx"
    assert "not known" not in symptom["no_fix"]["en"]
    assert symptom["no_fix"]["en"].endswith("and waived until 2099-12-31 (moved on Monday).")
