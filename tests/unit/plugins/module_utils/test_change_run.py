# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run from its first step to its verdict: real journal, worker processes and files; only the fixes are small."""

from __future__ import annotations

import os
import pathlib
import signal
import time

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import journal as journals
from ansible_collections.fediops.mastodon.plugins.module_utils._change import run, worker
from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal
from ansible_collections.fediops.mastodon.tests.unit.fixtures import runs
from ansible_collections.fediops.mastodon.tests.unit.fixtures.runs import RUN, began, names, states, wait_for

files = runs.files  # the fixture


def test_steps_are_applied_and_kept(files: pathlib.Path) -> None:
    journal = began("write")
    run.act(journal, "")
    assert (journal.run["state"], states(journal), names(files)) == ("acted", ["applied"], {"one": "1\n", "two": "2\n"})
    run.settle(journal, {})
    assert (journal.run["state"], states(journal)) == ("settled", ["kept"])


def test_second_run_does_nothing_and_needs_no_verdict(files: pathlib.Path) -> None:
    run.act(began("write"), "")
    again = began("write", run_id="2026-11-21T09-12-45Z-3f2a")
    run.act(again, "")
    assert (again.run["state"], states(again)) == ("settled", ["nothing"])


def test_step_that_did_not_cure_is_taken_back_and_says_why(files: pathlib.Path) -> None:
    (files / "one").write_text("before")
    journal = began("write")
    run.act(journal, "")
    run.settle(journal, {1: "the finding is still there"})
    assert (states(journal), names(files)) == (["undone"], {"one": "before"})
    assert journal.run["steps"][0]["reason"] == "the finding is still there"


def test_what_cannot_be_taken_back_failed_and_stays(files: pathlib.Path) -> None:
    journal = began("prune")
    run.act(journal, "")
    run.settle(journal, {1: "still full"})
    assert (states(journal), names(files)) == (["failed"], {"one": "pruned\n"})


def test_refused_and_broken_steps_leave_nothing_and_the_others_go_on(files: pathlib.Path) -> None:
    journal = began("refuse", "break", "write")
    run.act(journal, "")
    assert states(journal) == ["refused", "failed", "applied"]
    assert [step["reason"] for step in journal.run["steps"]] == ["there is no yarn; install it", "ValueError: no such thing", ""]
    assert names(files) == {"one": "1\n", "two": "2\n"}


def test_rehearsal_writes_nothing(files: pathlib.Path) -> None:
    steps = run.rehearse(run.new_steps([{"fix": "write"}, {"fix": "write"}, {"fix": "refuse"}]), "")
    assert [step["state"] for step in steps] == ["applied", "nothing", "refused"], "the second step sees what the first would write"
    assert names(files) == {} and journals.journals() == []


def test_rollback_takes_a_kept_run_back_once(files: pathlib.Path) -> None:
    (files / "two").write_text("before")
    journal = began("write", "prune")
    run.act(journal, "")
    run.settle(journal, {})
    run.roll_back(journal)
    assert (journal.run["state"], states(journal)) == ("rolled_back", ["rolled_back", "kept"])
    assert names(files) == {"two": "before"}, "the step that came first wrote `one`, and its undo takes it away"


def test_killed_worker_is_noticed_and_its_step_taken_back_by_the_next_run(files: pathlib.Path) -> None:
    (files / "one").write_text("before")
    journal = began("hang")
    worker.launch(worker.lock(RUN, "me@laptop"), journal, lambda mine: run.act(mine, ""))
    wait_for(lambda: names(files)["one"] == "half\n")
    followed = worker.follow(RUN, 0.0)
    assert followed is not None and followed["working"] and followed["state"] == "acting"
    with pytest.raises(worker.Busy, match=f"run {RUN} of me@laptop works on this host since 0 min"):
        worker.lock("2026-11-21T09-12-45Z-3f2a", "you@laptop")
    os.kill(followed["pid"], signal.SIGKILL)
    wait_for(lambda: not worker.is_locked())
    following = began("write", run_id="2026-11-21T09-12-45Z-3f2a")
    run.act(following, "")
    assert following.run["recovered"] == [RUN]
    assert states(journal) == ["undone"] and names(files) == {"one": "1\n", "two": "2\n"}
    run.settle(following, {1: "no"})
    assert names(files) == {"one": "before"}


def test_run_that_nobody_judged_is_kept_for_the_next_diagnosis(files: pathlib.Path) -> None:
    journal = began("write")
    run.act(journal, "")
    assert run.recover("") == [RUN]
    found = Journal.load(RUN)
    assert found is not None and (found.run["state"], states(found)) == ("settled", ["kept"])
    assert found.run["steps"][0]["reason"] == "not judged: its run was interrupted"
    assert run.recover("") == []


def test_lease_belongs_to_a_living_controller(files: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = began("write")
    run.act(journal, "")
    journal.lease()
    assert 55 < journal.lease_left() <= 60
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert journal.lease_left() == 0


def test_old_runs_are_forgotten(files: pathlib.Path) -> None:
    for number in range(25):
        journal = began("write", run_id=f"2026-11-21T09-12-{number:02d}Z-3f2a")
        run.act(journal, "")
        run.settle(journal, {})
    assert len(journals.journals()) <= journals.KEPT_RUNS + 5
    run.settle(began("write", run_id="2026-11-21T09-13-00Z-3f2a"), {})
    kept = [journal.run["id"] for journal in journals.journals()]
    assert len(kept) == journals.KEPT_RUNS and kept[0] == "2026-11-21T09-13-00Z-3f2a"


def test_what_cannot_be_taken_back_keeps_nothing_else_from_it(files: pathlib.Path) -> None:
    journal = began("write")
    run.act(journal, "")
    journal.record(journal.run["steps"][0], {"kind": "attributes", "path": str(files / "one"), "old": "garbled"})
    run.settle(journal, {1: "no"})
    assert names(files) == {}
    assert "one could not be taken back" in journal.run["steps"][0]["reason"]
