# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a step does to files is taken back byte for byte, however far it came, and however often the undo itself is repeated."""

from __future__ import annotations

import os
import pathlib
import time
import typing as t

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk, run, undo
from ansible_collections.fediops.mastodon.plugins.module_utils._change import journal as journals
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Asked, Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

NAMES = ("a", "b", "c/d", "c/e")


class Killed(BaseException):
    """kill -9, as far as Python can play it: nothing behind it is run."""


def picture(folder: pathlib.Path) -> dict[str, t.Any]:
    """Everything that can be seen of a folder: names, contents, owners, modes, times of the files."""
    seen: dict[str, t.Any] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        changed = status.st_mtime_ns if path.is_file() else 0
        seen[str(path.relative_to(folder))] = (status.st_uid, status.st_gid, status.st_mode, content, changed)
    return seen


def prepared(folder: pathlib.Path) -> None:
    (folder / "c").mkdir(parents=True)
    (folder / "a").write_text("first\n")
    (folder / "c" / "d").write_bytes(b"\xff\x00 binary")
    (folder / "c" / "d").chmod(0o640)
    os.chown(folder / "c" / "d", 65534, 65534)
    os.utime(folder / "a", ns=(10**18, 10**18))


def a_step(fix: str = "mastodon_env") -> dict[str, t.Any]:
    return run.new_steps([{"fix": fix}])[0]


@pytest.fixture
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(journals, "PLACES", (str(tmp_path / "state"), str(tmp_path / "fallback")))
    return tmp_path


operations = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.text(max_size=20), st.sampled_from([None, 0o600, 0o755])),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.none(), st.none()),
    st.tuples(st.just("attributes"), st.sampled_from((*NAMES, "c")), st.sampled_from([0, 65534]), st.sampled_from([None, 0o700])),
    st.tuples(st.just("directory"), st.sampled_from(["new", "c/new"]), st.none(), st.none()),
)


def carry_out(change: Change, folder: pathlib.Path, what: tuple[t.Any, ...]) -> None:
    kind, name, value, mode = what
    path = str(folder / name)
    if kind == "write":
        change.write(path, value, mode=mode)
    elif kind == "remove":
        change.remove(path)
    elif kind == "attributes":
        change.attributes(path, uid=value, mode=mode)
    else:
        change.make_directory(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(todo=st.lists(operations, max_size=8), killed_at=st.integers(0, 30))
def test_undo_restores_every_byte_from_wherever_a_step_was_killed(
    todo: list[tuple[t.Any, ...]], killed_at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("undo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "PLACES", (str(base / "state"),))
        prepared(base / "live")
        before = picture(base / "live")
        step = a_step()
        journal = Journal.create("2026-11-21T09-12-44Z-3f2a", "", [step])
        change = Change(step, journal, {}, {}, {})
        left = killed_at

        def dying(function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
            def call(*arguments: t.Any, **named: t.Any) -> t.Any:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return function(*arguments, **named)

            return call

        with pytest.MonkeyPatch.context() as death:
            for name in ("rename", "replace", "chown", "chmod", "mkdir", "unlink"):
                death.setattr(os, name, dying(getattr(os, name)))
            try:
                for what in todo:
                    carry_out(change, base / "live", what)
            except Killed:
                pass
        for _again in range(2):
            assert undo.take_back(Host(time.monotonic() + 60), journal, step, {}, Asked()) == []
            assert picture(base / "live") == before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(todo=st.lists(operations, max_size=8))
def test_check_mode_touches_nothing_and_foresees_the_same_changes(
    todo: list[tuple[t.Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("check")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "PLACES", (str(base / "state"),))
        prepared(base / "live")
        before = picture(base / "live")
        planned = a_step()
        rehearsal = Change(planned, None, {}, {}, {})
        for what in todo:
            carry_out(rehearsal, base / "live", what)
        assert picture(base / "live") == before
        done = a_step()
        change = Change(done, Journal.create("2026-11-21T09-12-44Z-3f2a", "", [done]), {}, {}, {})
        for what in todo:
            carry_out(change, base / "live", what)
        assert [(each["what"], each["after"]) for each in planned["changes"]] == [(each["what"], each["after"]) for each in done["changes"]]


def test_replaced_directory_comes_back(state: pathlib.Path) -> None:
    live = state / "live"
    (live / "packs").mkdir(parents=True)
    (live / "packs" / "old.js").write_text("old")
    (live / "new").mkdir()
    step = a_step()
    journal = Journal.create("2026-11-21T09-12-44Z-3f2a", "", [step])
    Change(step, journal, {}, {}, {}).replace_directory(str(live / "packs"), str(live / "new"))
    assert os.listdir(live / "packs") == []
    for _again in range(2):
        undo.take_back(Host(time.monotonic() + 60), journal, step, {}, Asked())
        assert os.listdir(live / "packs") == ["old.js"]


def test_secret_values_are_in_no_change(state: pathlib.Path) -> None:
    path = state / "env"
    path.write_text("DB_PASS=hunter2hunter2\nLOCAL_DOMAIN=a.example\n")
    step = a_step()
    change = Change(step, None, {}, {}, {}, ["hunter2hunter2"])
    change.write(str(path), "DB_PASS=hunter2hunter2\nLOCAL_DOMAIN=b.example\nSMTP_PASSWORD=anotherlongvalue\n")
    assert "b.example" in step["changes"][0]["after"]
    assert "hunter2" not in str(step) and "anotherlongvalue" not in str(step)


def test_journal_goes_to_run_when_there_is_no_room(state: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state / "state").write_text("not a directory: as good as no room")
    journal = Journal.create("2026-11-21T09-12-44Z-3f2a", "me@laptop", [])
    assert journal.folder.startswith(str(state / "fallback"))
    assert [found.run["controller"] for found in journals.journals()] == ["me@laptop"]
    (state / "fallback2").write_text("")
    monkeypatch.setattr(journals, "PLACES", (str(state / "state"), str(state / "fallback2")))
    with pytest.raises(Refused, match="no journal could be written below"):
        Journal.create("2026-11-21T09-12-45Z-3f2a", "", [])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 2, "steps": []}', '{"schema": 1}', "\x00\xff"])
def test_garbled_run_is_not_a_run(state: pathlib.Path, content: str) -> None:
    folder = state / "state" / "runs" / "2026-11-21T09-12-44Z-3f2a"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(content)
    assert journals.journals() == []


def test_torn_last_line_is_an_operation_that_never_began(state: pathlib.Path) -> None:
    step = a_step()
    journal = Journal.create("2026-11-21T09-12-44Z-3f2a", "", [step])
    journal.record(step, {"kind": "made_directory", "path": "/x"})
    with open(journal.step_folder(step) + "/journal.jsonl", "ab") as stream:
        stream.write(b'{"kind": "file", "pa')
    assert journal.operations(step) == [{"kind": "made_directory", "path": "/x"}]


@pytest.mark.parametrize("name", ["../../etc", "2026-11-21T09-12-44Z-3f2a/..", "x", "", "2026-11-21T09-12-44Z-3f2a\n"])
def test_run_id_is_no_path(name: str) -> None:
    assert not journals.is_run_id(name)


def test_what_somebody_else_has_written_since_is_not_overwritten(state: pathlib.Path) -> None:
    """Weeks after a run the administrator has added a line to /etc/fstab; a rollback must not take it away."""
    prepared(state / "live")
    step = a_step()
    journal = Journal.create("2026-11-21T09-12-44Z-3f2a", "", [step])
    change = Change(step, journal, {}, {}, {})
    change.write(str(state / "live" / "a"), "ours\n")
    change.write(str(state / "live" / "new"), "ours\n")
    change.write(str(state / "live" / "c" / "d"), "ours\n")
    for name in ("a", "new"):
        (state / "live" / name).write_text("ours\nand theirs\n")
    for _again in range(2):
        problems = undo.take_back(Host(time.monotonic() + 60), journal, step, {}, Asked())
        assert len(problems) == 2 and all("has been changed since" in each for each in problems), problems
        assert f"what it held before is in {journal.folder}/01-mastodon_env/saved/000" in problems[1]
    assert [(state / "live" / name).read_text() for name in ("a", "new")] == ["ours\nand theirs\n"] * 2
    assert (state / "live" / "c" / "d").read_bytes() == b"\xff\x00 binary"


def test_file_that_becomes_a_link_when_it_is_read_gives_no_secret_away(state: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app's user turns his .profile into a link to /etc/shadow between look and read; root must not copy that into his file."""
    prepared(state / "live")
    (state / "shadow").write_text("root:secret\n")
    step = a_step()
    change = Change(step, Journal.create("2026-11-21T09-12-44Z-3f2a", "", [step]), {}, {}, {})
    profile = state / "live" / "a"
    real = disk.resolved

    def resolved(path: str) -> str:
        found = real(path)
        profile.unlink()
        profile.symlink_to(state / "shadow")
        return found

    monkeypatch.setattr(disk, "resolved", resolved)
    with pytest.raises(OSError, match="Too many levels"):
        change.text(str(profile))


def test_undo_of_a_unit_file_is_told_to_systemd(state: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, the step could not ask for it; after a reboot systemd has read what is taken away now."""
    monkeypatch.setattr(undo, "UNIT_FOLDERS", (str(state / "live") + "/",))
    prepared(state / "live")
    step = a_step()
    journal = Journal.create("2026-11-21T09-12-44Z-3f2a", "", [step])
    Change(step, journal, {}, {}, {}).write(str(state / "live" / "c" / "zz.conf"), "[Service]\n")
    asked = Asked()
    assert undo.take_back(Host(time.monotonic() + 60), journal, step, {}, asked) == []
    assert asked.reload_units


def test_disabling_is_undone_once(state: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second undo finds no unit any more, and that is no problem."""
    step = a_step()
    journal = Journal.create("2026-11-21T09-12-44Z-3f2a", "", [step])
    journal.record(step, {"kind": "enabled", "unit": "ours.service", "was": "disabled"})
    monkeypatch.setattr(undo.units, "enabled", lambda _host, _unit: "")
    monkeypatch.setattr(undo.units, "disable", lambda _host, _unit: pytest.fail("systemctl disable of no unit fails"))
    assert undo.take_back(Host(time.monotonic() + 60), journal, step, {}, Asked()) == []
