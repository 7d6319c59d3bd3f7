# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rollback after which posts would be missing is told of before it is done, and never done unnamed. The host is played."""

from __future__ import annotations

import types

import pytest

from ansible_collections.fediops.mastodon.plugins.action import mastodon_rollback

RUN = "2026-11-21T09-12-44Z-3f2a0b1c"
CONVERTED = {
    "fix": "convert_encoding", "issues": ["encoding_not_utf8"], "covers": [], "impact": "rebuild", "state": "kept", "reason": "",
    "undoable": True, "changes": [{"what": "database x", "before": "", "after": ""}], "only_by_rollback": True, "kept_database": "old",
}  # fmt: skip
EDITED = {key: CONVERTED[key] for key in CONVERTED if key not in ("only_by_rollback", "kept_database")} | {"fix": "allow_writes"}
PRUNED = {**EDITED, "fix": "reclaim_disk", "undoable": False}


@pytest.fixture
def events(monkeypatch):
    """What was called, warned and said, in order."""
    told = []
    display = types.SimpleNamespace(warning=lambda text: told.append(("warned", text)))
    monkeypatch.setattr(mastodon_rollback, "Display", lambda: display)
    monkeypatch.setattr(mastodon_rollback.HostDoor, "say", lambda _self, text: told.append(("said", text)))
    return told


def rolled_back(events, steps, run="", check_mode=False):
    action = object.__new__(mastodon_rollback.ActionModule)
    action._task = types.SimpleNamespace(args={"run": run}, check_mode=check_mode)

    def execute(module_name, module_args, task_vars):
        events.append(("looked" if action._task.check_mode else "acted", module_args["run"]))
        state = "kept" if action._task.check_mode else "rolled_back"
        now = [{**step, "state": state} if step["state"] == "kept" and step["undoable"] else step for step in steps]
        journal = {"id": RUN, "state": "settled", "started_epoch": 0.0, "finished_epoch": 1763716364.0, "steps": now}
        return {"run": journal, "working": False, "changed": True}

    action._execute_module = execute
    result = {}
    action.work({"inventory_hostname": "web1"}, result)
    assert action._task.check_mode is check_mode
    return result


def test_it_warns_first_and_then_acts(events):
    result = rolled_back(events, [CONVERTED], RUN)
    assert result["changed"] and [kind for kind, _text in events] == ["looked", "warned", "acted", "said"]
    assert "web1: taking back convert_encoding" in events[1][1] and "written since 2025-11-21 09:12 UTC" in events[1][1]


def test_unnamed_it_is_not_done(events):
    result = rolled_back(events, [EDITED, CONVERTED])
    assert result["failed"] and f"-e run={RUN}" in result["msg"] and events == [("looked", "")]


def test_check_mode_only_warns(events):
    result = rolled_back(events, [CONVERTED], RUN, check_mode=True)
    assert result["changed"] and [kind for kind, _text in events] == ["looked", "warned", "said"]


def test_the_newest_run_is_taken_back_by_its_id_and_what_stays_is_said(events):
    result = rolled_back(events, [EDITED, PRUNED])
    assert result["changed"] and events[:2] == [("looked", ""), ("acted", RUN)]
    assert [text for _kind, text in events[2:]] == ["allow_writes was taken back", "reclaim_disk stays: its effect cannot be taken back"]


def test_where_nothing_is_left_to_take_back_nothing_is_called(events):
    result = rolled_back(events, [PRUNED])
    assert not result["changed"] and "acted" not in [kind for kind, _text in events]
