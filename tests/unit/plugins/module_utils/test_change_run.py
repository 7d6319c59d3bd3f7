# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run from its first step to its verdict, broken off anywhere: real journal, worker processes and files; only the fixes are small."""

from __future__ import annotations

import os
import pathlib
import signal
import time
import types
import typing as t

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import alone, run, services, worker
from ansible_collections.fediops.mastodon.plugins.module_utils._change import journal as journals
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal
from ansible_collections.fediops.mastodon.plugins.modules import mastodon_fix

RUN = "2026-11-21T09-12-44Z-3f2a"


@pytest.fixture
def files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder to change, with fixes that write into it: `write` (two files), `refuse`, `break` (after one file), `hang`, `prune`."""
    live = tmp_path / "live"
    live.mkdir()

    def write(change: Change) -> None:
        change.write(str(live / "one"), "1\n")
        change.write(str(live / "two"), "2\n")

    def refuse(_change: Change) -> None:
        raise Refused("there is no yarn; install it")

    def breaks(change: Change) -> None:
        change.write(str(live / "one"), "broken\n")
        raise ValueError("no such thing")

    def hang(change: Change) -> None:
        change.write(str(live / "one"), "half\n")
        time.sleep(60)

    def prune(change: Change) -> None:
        change.cannot_undo("what was deleted can be fetched again")
        change.write(str(live / "one"), "pruned\n")

    fixes = {"write": write, "refuse": refuse, "break": breaks, "hang": hang, "prune": prune}
    monkeypatch.setattr(run, "module_of", lambda name: types.SimpleNamespace(fix=fixes[name]))
    monkeypatch.setattr(run, "survey", lambda *_arguments: ({}, {"units": []}))
    monkeypatch.setattr(journals, "PLACES", (str(tmp_path / "state"),))
    monkeypatch.setattr(worker, "LOCK_FOLDER", str(tmp_path / "lock"))
    return live


def began(*fixes: str, run_id: str = RUN) -> Journal:
    return Journal.create(run_id, "me@laptop", run.new_steps([{"fix": fix, "issues": ["an_issue"]} for fix in fixes]))


def states(journal: Journal) -> list[str]:
    found = Journal.load(journal.run["id"])
    return [step["state"] for step in found.run["steps"]] if found else []


def names(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


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


def wait_for(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_cannot_be_taken_back_keeps_nothing_else_from_it(files: pathlib.Path) -> None:
    journal = began("write")
    run.act(journal, "")
    journal.record(journal.run["steps"][0], {"kind": "attributes", "path": str(files / "one"), "old": "garbled"})
    run.settle(journal, {1: "no"})
    assert names(files) == {}
    assert "one could not be taken back" in journal.run["steps"][0]["reason"]


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
