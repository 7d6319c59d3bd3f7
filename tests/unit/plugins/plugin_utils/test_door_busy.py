# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that somebody else's run works on: it is waited for, said once, and not for ever."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _door
from ansible_collections.fediops.mastodon.plugins.plugin_utils._remediation import Trouble

TOLD = "run x of admin works on this host since 0 min"


class Clock:
    """Time passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    passing = Clock()
    monkeypatch.setattr(_door.time, "monotonic", passing.monotonic)
    monkeypatch.setattr(_door.time, "sleep", passing.sleep)
    return passing


def door(monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]]) -> tuple[_door.HostDoor, list[str]]:
    opened = _door.HostDoor(Mock(), {"inventory_hostname": "web1"}, {})
    said: list[str] = []
    monkeypatch.setattr(opened, "say", said.append)
    monkeypatch.setattr(opened, "_call", lambda **_arguments: answers.pop(0) if len(answers) > 1 else answers[0])
    return opened, said


def test_the_worker_of_a_killed_controller_is_waited_for(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    done = {"run": {"id": "2026-11-21T09-12-44Z-3f2a", "state": "acted", "steps": []}, "working": False}
    opened, said = door(monkeypatch, [{"busy": TOLD, "working": False}] * 4 + [done])
    assert opened.begin([])["state"] == "acted"
    assert clock.now >= 3 * _door.BUSY_POLL_SECONDS
    assert [line for line in said if TOLD in line] == said[:1]


def test_nobody_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    opened, _said = door(monkeypatch, [{"busy": TOLD, "working": False}])
    with pytest.raises(Trouble, match=TOLD):
        opened.begin([])
    assert clock.now <= _door.BUSY_SECONDS + 1
