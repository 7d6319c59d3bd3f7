# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose process the kernel killed. Live: sidekiq_out_of_memory, test_out_of_memory of tests/live/test_compose_behind_nginx.py."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._gather import _join_oom_kills

OURS, OTHER, OUTER = "a" * 64, "b" * 64, "c" * 64


def joined(deployment: str, process: str, cgroup: str, unit: str = "") -> list[dict[str, Any]]:
    known = {key: value for key, value in (("cgroup", cgroup), ("unit", unit)) if value}
    kill = {"process": process, "time_epoch": 1.0, "scope": "cgroup", **known}
    named = "social-sidekiq-1" if deployment == "docker" else "mastodon-sidekiq.service"
    facts: dict[str, Any] = {"memory": {}, "services": {"units": [{"name": named}]}, "logs": {"_oom_kills": [kill], "sources": []}}
    _join_oom_kills(facts, {"deployment": deployment, "units": [{"name": named, "_container": OURS if deployment == "docker" else ""}]})
    told: list[dict[str, Any]] = facts["memory"]["oom_kills"]
    return told


@pytest.mark.parametrize(
    ("deployment", "process", "cgroup", "unit", "counts"),
    [
        ("systemd", "sidekiq", "/system.slice/mastodon-sidekiq.service", "mastodon-sidekiq.service", True),
        ("systemd", "sidekiq", "/system.slice/gitlab.service", "gitlab.service", False),
        ("systemd", "puma", "", "", True),
        ("systemd", "sidekiq", f"/docker/{OTHER}", "", False),
        ("systemd", "postgres", f"/docker/{OTHER}", "", False),
        ("docker", "puma", "", "", True),
        ("systemd", "chromium", "", "", False),
        ("docker", "sidekiq", f"/docker/{OURS}", "", True),
        ("docker", "sidekiq", f"/docker/{OUTER}/docker/{OURS}", "", True),
        ("docker", "sidekiq", f"/docker/{OTHER}", "", False),
        ("docker", "sidekiq", f"/docker/{OUTER}/docker/{OTHER}", "", False),
    ],
)
def test_whose_it_was(deployment: str, process: str, cgroup: str, unit: str, counts: bool) -> None:
    told = joined(deployment, process, cgroup, unit)
    assert len(told) == counts
    if OURS in cgroup:
        assert told[0]["unit"] == "social-sidekiq-1"
