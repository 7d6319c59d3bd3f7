# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which time service is started, by what systemd and the kernel say (played; tests/live/test_clock.py does it on a virtual machine)."""

from __future__ import annotations

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils import _clock
from ansible_collections.fediops.mastodon.plugins.module_utils._change import units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.run import new_steps
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _packages, sync_clock

GONE = {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}
OFF = {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
ON = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}
MASKED = {"LoadState": "masked", "ActiveState": "inactive", "UnitFileState": "masked"}
TIMESYNCD, CHRONY, NTP = "systemd-timesyncd.service", "chrony.service", "ntp.service"


@pytest.fixture
def played(monkeypatch):
    """Foreseen on a host whose time services are in these states; (the step's change, packages that were asked for)."""

    def play(states, synchronized=False, container=""):
        packages = []
        monkeypatch.setattr(_clock, "synchronized", lambda: synchronized)
        monkeypatch.setattr(sync_clock, "container", lambda host: container)
        monkeypatch.setattr(units, "properties", lambda host, name, *keys: {key: states.get(name, GONE).get(key, "") for key in keys})
        monkeypatch.setattr(_packages, "install", lambda change, names, seconds, no_lists: packages.extend(names))
        change = Change(new_steps([{"fix": "sync_clock"}])[0], None, {}, {}, {})
        sync_clock.fix(change)
        return change, packages

    return play


@pytest.mark.parametrize(
    ("states", "restarted", "started", "enabled"),
    [
        ({TIMESYNCD: OFF}, [], [TIMESYNCD], True),
        ({TIMESYNCD: OFF, CHRONY: OFF}, [], [CHRONY], True),
        ({TIMESYNCD: MASKED, NTP: OFF}, [], [NTP], True),
        ({TIMESYNCD: {**OFF, "UnitFileState": "enabled"}}, [], [TIMESYNCD], False),
        ({TIMESYNCD: MASKED, CHRONY: ON}, [CHRONY], [], False),
    ],
)
def test_the_one_that_was_chosen_is_started(played, states, restarted, started, enabled):
    change, packages = played(states)
    assert (change.asked.restart, change.asked.start, packages) == (restarted, started, [])
    assert [entry["after"] for entry in change.step["changes"] if entry["before"]] == (["enabled"] if enabled else [])


def test_where_there_is_none_one_is_installed(played):
    change, packages = played({})
    assert packages == ["systemd-timesyncd"] and change.asked.start == [TIMESYNCD]


def test_nothing_is_done_where_it_is_kept(played):
    change, packages = played({}, synchronized=True, container="lxc")
    assert change.step["changes"] == [] and packages == []


@pytest.mark.parametrize(
    ("states", "container", "words"), [({TIMESYNCD: OFF}, "lxc", "container .lxc."), ({CHRONY: MASKED}, "", "is masked")]
)
def test_what_is_refused(played, states, container, words):
    with pytest.raises(Refused, match=words):
        played(states, container=container)


def test_a_server_that_does_not_answer_is_said(played, monkeypatch):
    change, _packages_asked = played({TIMESYNCD: OFF})
    monkeypatch.setattr(sync_clock, "SYNCHRONIZED_SECONDS", 0.0)
    monkeypatch.setattr(sync_clock.time, "sleep", lambda seconds: None)
    assert "UDP port 123" in sync_clock.check(change)
    monkeypatch.setattr(_clock, "synchronized", lambda: True)
    assert sync_clock.check(change) == ""
