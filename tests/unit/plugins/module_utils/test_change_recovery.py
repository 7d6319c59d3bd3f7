# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that was broken off anywhere, or met a full disk: nothing is left half done, nothing is lost, no service stays down."""

from __future__ import annotations

import os
import pathlib
import types
import typing as t

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import alone, run, services, worker
from ansible_collections.fediops.mastodon.plugins.module_utils._change import journal as journals
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal
from ansible_collections.fediops.mastodon.plugins.modules import mastodon_fix
from ansible_collections.fediops.mastodon.tests.unit.fixtures import runs
from ansible_collections.fediops.mastodon.tests.unit.fixtures.runs import RUN, began, names, states

files = runs.files  # the fixture


class Killed(BaseException):
    """kill -9, as far as Python can play it."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, t.Any]]:
    """What was asked of the services, each time they were seen to; the first time the worker is killed instead."""
    seen: list[dict[str, t.Any]] = []

    def carry_out(_host: t.Any, asked: t.Any, *_more: t.Any) -> list[str]:
        seen.append(asked.as_dict())
        if len(seen) == 1:
            raise Killed
        return []

    monkeypatch.setattr(run.services, "carry_out", carry_out)
    return seen


def stopped(journal: Journal) -> None:
    """The first step has stopped a service, as convert_encoding does."""
    journal.record(journal.run["steps"][0], {"kind": "stopped", "unit": "mastodon-web.service"})


def test_service_is_started_though_the_recovery_itself_was_killed_before_it(files: pathlib.Path, served: list[dict[str, t.Any]]) -> None:
    journal = began("write")
    stopped(journal)
    journal.run["steps"][0]["state"] = "acting"
    journal.save()
    with pytest.raises(Killed):
        run.recover("")
    assert states(journal) == ["undone"]
    assert run.recover("") == [RUN]
    assert [each["start"] for each in served] == [["mastodon-web.service"]] * 2, "the site would have stayed down"
    assert run.recover("") == []


def test_service_of_a_failed_step_is_started_though_the_run_was_killed_later(files: pathlib.Path, served: list[dict[str, t.Any]]) -> None:
    journal = began("break", "write")
    stopped(journal)
    with pytest.raises(Killed):
        run.act(journal, "")
    assert states(journal) == ["failed", "applied"]
    run.recover("")
    assert served[1]["start"] == ["mastodon-web.service"]


@pytest.mark.parametrize("how", ["settle", "roll_back"])
def test_services_follow_an_undo_that_was_killed_before_them(files: pathlib.Path, served: list[dict[str, t.Any]], how: str) -> None:
    journal = began("write")
    journal.run["steps"][0].update(state="kept" if how == "roll_back" else "applied", services={"restart": ["mastodon-web.service"]})
    journal.run.update(state="settled" if how == "roll_back" else "acted", services_done=True)
    journal.save()
    with pytest.raises(Killed):
        run.roll_back(journal) if how == "roll_back" else run.settle(journal, {1: "no"})
    assert run.recover("") == [RUN]
    assert served[1]["restart"] == ["mastodon-web.service"]
    assert run.left_open() == []


def test_what_is_complete_is_left_for_who_asks_to_judge_it(files: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.services, "carry_out", lambda *_arguments: [])
    journal = began("write")
    journal.run["steps"][0].update(state="applied", covers=["web_down_502"])
    journal.save()
    asking = began(run_id="2026-11-21T10-00-00Z-aaaa")
    run.act(asking, "")
    assert (asking.run["recovered"], [left["id"] for left in asking.run["unjudged"]]) == ([RUN], [RUN])
    assert states(journal) == ["applied"] and Journal.load(RUN).run["state"] == "acted"
    run.settle(Journal.load(RUN), {})
    assert states(journal) == ["kept"] and run.left_open(asking.run["id"]) == []


def a_module(check_mode: bool = False) -> t.Any:
    def fail_json(msg: str) -> None:
        raise AssertionError(msg)

    return types.SimpleNamespace(check_mode=check_mode, _diff=False, fail_json=fail_json)


def test_services_of_a_module_alone_are_seen_to_by_the_next_run(
    files: pathlib.Path, served: list[dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "preload", lambda: None)
    monkeypatch.setattr(alone, "survey", run.survey)

    def function(change: Change) -> None:
        change.write(str(files / "one"), "1\n")
        change.restart("mastodon-web.service")

    with pytest.raises(Killed):
        alone.alone(a_module(), "mastodon_env", function, {})
    assert len(run.recover("")) == 1
    assert served[1]["restart"] == ["mastodon-web.service"] and names(files) == {"one": "1\n"}


def test_a_module_alone_works_with_what_the_recovery_has_left(files: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "preload", lambda: None)
    monkeypatch.setattr(alone, "survey", lambda *_arguments: ({"one": names(files).get("one")}, {"units": []}))
    journal = began("write")
    step = journal.run["steps"][0]
    Change(step, journal, {}, {}, {}).write(str(files / "one"), "half\n")
    step["state"] = "acting"
    journal.run["started_epoch"] -= 100
    journal.save()
    seen = []
    alone.alone(a_module(), "mastodon_env", lambda change: seen.append(change.facts["one"]), {})
    assert seen == [None], "facts of before the recovery"


def test_error_of_a_module_alone_holds_no_secret(files: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "preload", lambda: None)
    secret = {"_environment": {"DB_PASS": "correct-horse-battery"}, "units": []}
    monkeypatch.setattr(alone, "survey", lambda *_arguments: ({}, secret))
    monkeypatch.setattr(alone, "secrets", lambda _ground: ["correct-horse-battery"])

    def function(change: Change) -> None:
        change.write(str(files / "one"), "1\n")
        raise alone.HostError("psql said: password correct-horse-battery is wrong")

    with pytest.raises(AssertionError) as problem:
        alone.alone(a_module(), "mastodon_env", function, {})
    assert "psql said" in str(problem.value) and "horse" not in str(problem.value)


def test_an_id_that_was_used_takes_no_journal_away(files: pathlib.Path) -> None:
    (files / "one").write_text("before")
    journal = began("write")
    run.act(journal, "")
    run.settle(journal, {})
    with pytest.raises(Refused, match=f"there is a run {RUN} on this host already"):
        began("write")
    run.roll_back(t.cast("Journal", Journal.load(RUN)))
    assert names(files) == {"one": "before"}


def test_disk_that_is_full_keeps_no_undo_and_no_service_from_it(
    files: pathlib.Path, served: list[dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step itself has filled the disk; only its undo makes room again."""
    served.append({})
    (files / "one").write_text("before")
    journal = began("break")
    stopped(journal)
    real = journals._write

    def write(path: str, data: bytes) -> None:
        if path.endswith("run.json") and names(files)["one"] == "broken\n":
            raise OSError(28, "No space left on device", path)
        real(path, data)

    monkeypatch.setattr(journals, "_write", write)
    run.act(journal, "")
    assert names(files) == {"one": "before"} and served[-1]["start"] == ["mastodon-web.service"]
    assert states(journal) == ["failed"]


def test_operation_of_which_only_a_part_fits_is_not_begun(files: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, left = began("write"), [20]
    real = os.write

    def write(handle: int, data: t.Any) -> int:
        if not os.readlink(f"/proc/self/fd/{handle}").endswith("journal.jsonl"):
            return real(handle, data)
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = real(handle, bytes(data)[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", write)
    change = Change(journal.run["steps"][0], journal, {}, {}, {})
    with pytest.raises(OSError, match="No space left"):
        change.write(str(files / "one"), "1\n")
    assert names(files) == {}, "it could not have been taken back"


def test_undo_of_a_step_takes_no_later_one_that_is_kept_with_it(files: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fixes edit nginx's site, only the first did not cure."""

    def add(change: Change) -> None:
        path = str(files / "one")
        change.write(path, (change.text(path) or "") + change.options["line"])

    monkeypatch.setattr(run, "module_of", lambda _name: types.SimpleNamespace(fix=add))
    (files / "one").write_text("theirs\n")
    asked = [{"fix": "add", "options": {"line": line}} for line in ("first\n", "second\n")]
    journal = Journal.create(RUN, "", run.new_steps(asked))
    run.act(journal, "")
    run.settle(journal, {1: "not cured"})
    assert states(journal) == ["undone", "kept"] and names(files)["one"] == "theirs\nfirst\nsecond\n"
    assert "has been changed since" in journal.run["steps"][0]["reason"]


def test_step_whose_effect_is_there_is_kept_though_it_was_killed_before_it_could_say_so(
    files: pathlib.Path, served: list[dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """convert_encoding: the swap is committed, the server reboots, people post for days; then comes the next run."""
    served.append({})
    (files / "one").write_text("old database")
    journal = began("convert_encoding")
    step = journal.run["steps"][0]
    Change(step, journal, {}, {}, {}).write(str(files / "one"), "new database\n")
    stopped(journal)
    step["state"] = "acting"
    journal.save()
    asked: list[list[str]] = []

    def completed(operations: list[dict[str, t.Any]], _say: t.Any) -> bool:
        asked.append([each["kind"] for each in operations])
        return True

    monkeypatch.setattr(run, "module_of", lambda _name: types.SimpleNamespace(completed=completed))
    assert run.recover("") == [RUN]
    assert (states(journal), asked, served[-1]["start"]) == (["kept"], [["file", "stopped"]], ["mastodon-web.service"])
    assert names(files) == {"one": "new database\n"}


def test_step_that_cannot_be_taken_back_is_not_said_to_be(files: pathlib.Path) -> None:
    """A migration that was interrupted: its services are seen to, but the schema stays as it is."""
    journal = began("prune")
    journal.run["steps"][0].update(state="acting", undoable=False, kept_because="migrations are not taken back")
    journal.save()
    run.recover("")
    step = t.cast("Journal", Journal.load(RUN)).run["steps"][0]
    assert step["state"] == "failed" and step["reason"].endswith("by the next run; migrations are not taken back"), step


def test_what_only_a_rollback_may_give_up_is_not_undone_for_a_verdict(files: pathlib.Path) -> None:
    journal = began("write")
    run.act(journal, "")
    journal.run["steps"][0]["only_by_rollback"] = True
    run.settle(journal, {1: "the finding is still there"})
    assert (states(journal), names(files)) == (["failed"], {"one": "1\n", "two": "2\n"})
    run.roll_back(journal)
    assert (states(journal), names(files)) == (["rolled_back"], {})


def test_step_that_cannot_tell_yet_whether_it_is_complete_is_asked_by_the_next_run(
    files: pathlib.Path, served: list[dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL does not answer: neither kept nor undone blindly, and what was stopped is started."""
    served.append({})
    journal = began("convert_encoding")
    stopped(journal)
    journal.run["steps"][0]["state"] = "acting"
    journal.save()

    def completed(*_arguments: t.Any) -> bool:
        raise alone.HostError("PostgreSQL does not answer")

    monkeypatch.setattr(run, "module_of", lambda _name: types.SimpleNamespace(completed=completed))
    assert run.recover("") == [RUN] and states(journal) == ["acting"]
    assert served[-1]["start"] == ["mastodon-web.service"]
    monkeypatch.setattr(run, "module_of", lambda _name: types.SimpleNamespace())
    assert run.recover("") == [RUN] and states(journal) == ["undone"] and run.left_open() == []


def module_with(**params: t.Any) -> t.Any:
    return types.SimpleNamespace(check_mode=params.pop("check_mode", False), params={"controller": "", "wait_seconds": 5.0, **params})


def test_settling_in_check_mode_touches_nothing(files: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "preload", lambda: None)
    run.act(began("write"), "")
    foreseen = mastodon_fix.settle(module_with(run=RUN, verdicts={"1": "no"}, check_mode=True))
    assert foreseen["run"]["state"] == "acted" and names(files) == {"one": "1\n", "two": "2\n"}


@pytest.mark.parametrize("state", ["settle", "roll_back"])
def test_run_is_looked_at_under_the_lock(files: pathlib.Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Between look and lock another run has taken it over, or it was rolled back: neither is done a second time."""
    monkeypatch.setattr(run, "preload", lambda: None)
    journal = began("write")
    run.act(journal, "")
    if state == "roll_back":
        run.settle(journal, {})
    real = worker.lock

    def late(*arguments: str) -> int:
        if state == "settle":
            run.recover("")
        else:
            run.roll_back(t.cast("Journal", Journal.load(RUN)))
            (files / "one").write_text("of somebody else, since")
        return real(*arguments)

    monkeypatch.setattr(worker, "lock", late)
    with pytest.raises(mastodon_fix.Stop, match="cannot be settled" if state == "settle" else "has been rolled back"):
        getattr(mastodon_fix, state)(module_with(run=RUN, verdicts={"1": "no"}))
    assert not worker.is_locked()


def test_a_service_that_cannot_be_seen_to_keeps_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """/run is full: the drop-in for the stop of Sidekiq cannot be written."""
    problems: list[str] = []

    def full() -> None:
        raise OSError(28, "No space left on device", "/run/systemd/system/x")

    services._try(problems, full)
    assert problems == ["[Errno 28] No space left on device: '/run/systemd/system/x'"]
