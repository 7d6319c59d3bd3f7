# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a run on a server that is short of processor time: systemd answers late, and nothing is given up for that."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import services
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Asked
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

LATE = HostError("systemctl show gave no answer in time")
INSTALL = {"units": [{"name": name + ".service", "role": role} for name, role in (("postgresql", "database"), ("mastodon-web", "web"))]}


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was started; PostgreSQL cannot be asked, and no unit when it is looked at for the first time."""
    started: list[str] = []
    looks: list[int] = []

    def is_active(_host: Host, name: str) -> bool:
        if name.startswith("postgresql"):
            raise LATE
        return False

    def discover(_host: Host) -> list[dict[str, t.Any]]:
        looks.append(1)
        if len(looks) == 1:
            raise LATE
        return [{"name": "mastodon-web.service", "restarts": 0, "active_state": "active"}]

    monkeypatch.setattr(services.units, "is_active", is_active)
    monkeypatch.setattr(services.units, "clear_leftovers", lambda _host: None)
    monkeypatch.setattr(services.units, "start", lambda _host, name: started.append(name))
    monkeypatch.setattr(services.observed, "discover", discover)
    monkeypatch.setattr(services.web, "observe", lambda _host, _install: {"endpoints": []})
    monkeypatch.setattr(services.streaming, "observe", lambda _host, _install: {"endpoints": []})
    return started


def test_a_unit_that_cannot_be_asked_keeps_no_other_down(done: list[str]) -> None:
    asked, said = Asked(), []
    asked.start = ["postgresql.service", "mastodon-web.service"]
    problems = services.carry_out(Host(1e12), asked, INSTALL, said.append)
    assert done == ["mastodon-web.service"]
    assert problems == ["postgresql.service: systemctl show gave no answer in time"]
    assert said[-1].startswith("waiting until mastodon-web.service"), "looked at again after no answer"


def test_units_are_seen_to_although_nobody_can_be_asked_which_there_are(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.units, "reload_units", lambda: done.append("daemon-reload"))
    asked = Asked()
    asked.reload_units, asked.start = True, ["mastodon-web.service"]
    assert services.carry_out(Host(1e12), asked, INSTALL, lambda _text: None) == []  # the first discovery fails
    assert done == ["daemon-reload", "mastodon-web.service"]
