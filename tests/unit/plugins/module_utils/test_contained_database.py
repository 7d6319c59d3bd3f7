# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PostgreSQL of a compose project is the app's. Live: tests/live/test_compose_fixes.py."""

from __future__ import annotations

import os

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import (
    _contained_database,
    _contained_dump,
    _database_swap,
    convert_encoding,
)
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import ContainedServer
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_dump import InContainer
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import Completed

SERVER = ContainedServer("social-db-1", "999:999", "postgres", "/var/run/postgresql", 5432)


def changing(monkeypatch: pytest.MonkeyPatch, answer: list[list[str]], **database: Any) -> Change:
    unit = {"name": "social-db-1", "service": "db", "role": "database", "shim": False, "pid": 7, "_ips": ["172.18.0.2"], "_env": {}}
    monkeypatch.setattr(_contained_database, "_server", lambda _host, _unit, port: SERVER if port == 5432 else None)
    monkeypatch.setattr(ContainedServer, "rows", lambda *_arguments: answer)
    told = {"reachable": True, "address": "db:5432", "name": "mastodon_production", **database}
    return Change(run.new_steps([{"fix": "repair_indexes"}])[0], None, {"database": told}, {"units": [unit]}, {})


@pytest.mark.parametrize("address", ["db:5432", "social-db-1:5432", "172.18.0.2:5432"])
def test_the_container_that_the_settings_name(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    assert _contained_database.find(changing(monkeypatch, [["t", "t"]], address=address)) == (SERVER, "mastodon_production")


@pytest.mark.parametrize(
    ("database", "answer", "why"),
    [
        ({"address": "db.example:5432"}, [["t", "t"]], "no container of the project runs the PostgreSQL at db.example:5432"),
        ({"address": "db:5433"}, [["t", "t"]], "no container of the project runs the PostgreSQL at db:5433"),
        ({"pooler": "unknown"}, [["t", "t"]], "through a pooler"),
        ({"reachable": False}, [["t", "t"]], "cure that first"),
        ({}, [["f", "t"]], "is not the superuser"),
        ({}, [["t", "f"]], "is not the superuser of the server that has mastodon_production"),
    ],
)
def test_any_other_is_left_alone(monkeypatch: pytest.MonkeyPatch, database: dict[str, Any], answer: list[list[str]], why: str) -> None:
    with pytest.raises(Refused, match=why):
        _contained_database.find(changing(monkeypatch, answer, **database))


def test_the_journal_leads_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContainedServer, "rows", lambda *_arguments: [["1"]])
    assert _contained_database.of(SERVER.journaled()) == SERVER


def running(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Completed]) -> list[tuple[list[str], dict[str, str]]]:
    """Programs in the container answer so, else well; what was run."""
    ran = []

    def run(_server: ContainedServer, _host: Any, words: list[str], environment: dict[str, str]) -> Completed:
        ran.append((words, environment))
        return answers.get(words[0], Completed(0, b"", b"", False))

    monkeypatch.setattr(ContainedServer, "run", run)
    return ran


def asked(monkeypatch: pytest.MonkeyPatch, clients: list[list[str]], name: str = "mastodon_production") -> Change:
    change = changing(monkeypatch, [], name=name, server_encoding="LATIN1")
    change.install["compose"] = {}
    change.install["units"][0]["_ips6"] = ["fd00::2"]
    answers = {"datname = ": clients, "data_directory": [["/data/"]], "rolsuper": [["t", "t"]]}
    monkeypatch.setattr(
        ContainedServer,
        "rows",
        lambda _server, _host, _database, sql: next(rows for part, rows in reversed(answers.items()) if part in sql),
    )
    return change


def test_whoever_else_uses_the_database_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, {})
    InContainer(asked(monkeypatch, [["127.0.0.1"], ["172.18.0.2"], ["fd00::2"]]))
    with pytest.raises(Refused, match=r"use this database \(from 10\.0\.0\.9\): end them first"):
        InContainer(asked(monkeypatch, [["172.18.0.2"], ["10.0.0.9"]]))


def test_what_a_host_does_with_dumps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    change = asked(monkeypatch, [])
    change.step["options"] = {"dump": "/backup"}
    with pytest.raises(Refused, match="leave out the option dump"):
        convert_encoding.fix(change)


def test_an_image_without_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, {"pg_restore": Completed(127, b"", b"", False)})
    with pytest.raises(Refused, match="pg_restore is not in the image of social-db-1"):
        InContainer(asked(monkeypatch, []))


def test_dump_and_new_database_must_both_find_room_on_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, {})
    change = asked(monkeypatch, [])
    change.install["units"][0]["pid"] = os.getpid()
    space = os.statvfs("/")
    free = space.f_bavail * space.f_frsize
    InContainer(change).demand_room(free // 4, free // 4)
    with pytest.raises(Refused, match=r"the dump and the new database need up to .* are free: make room$"):
        InContainer(change).demand_room(free // 2, free // 2)


class Written:
    """A journal that is only looked at."""

    def __init__(self, folder: Path) -> None:
        self.operations: list[dict[str, Any]] = []
        self.folder = folder

    def record(self, _step: dict[str, Any], operation: dict[str, Any]) -> None:
        self.operations.append(operation)

    def say(self, _text: str) -> None:
        return

    def step_folder(self, _step: dict[str, Any]) -> str:
        return str(self.folder)


def test_a_failed_dump_says_why_and_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    printed = b"pg_dump: error: no space left\npg_dump: detail: Command was: COPY x\n"
    running(monkeypatch, {})
    change = asked(monkeypatch, [], name="x'y")
    change.journal = journal = Written(tmp_path)  # type: ignore[assignment]
    way = InContainer(change)
    ran = running(monkeypatch, {"pg_dump": Completed(1, b"", printed, False)})
    with pytest.raises(HostError, match=r"^dump database x'y failed: pg_dump: error: no space left$"):
        way.dump("0123456789")
    assert (tmp_path / "log").read_text().startswith("== dump database x'y\n") and "Command was: COPY x" in (tmp_path / "log").read_text()
    assert r"--dbname=dbname='x\'y'" in ran[0][0] and list(ran[0][1].values()) == ["0123456789"]
    monkeypatch.setattr(ContainedServer, "rows", lambda *_arguments: pytest.fail("PostgreSQL need not answer"))
    _contained_dump.remove(journal.operations[0], print)
    assert ran[1][0] == ["rm", "-rf", "/data/fediops-01234567"]


def test_what_several_statements_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """psql ends the line behind the rows of each statement, whatever parts the rows of one."""
    monkeypatch.setattr(ContainedServer, "run", lambda *_arguments: Completed(0, b"0\n2\n", b"", False))
    assert SERVER.lines(None, "x", ["SELECT 0", "SELECT 2"]) == ["0", "2"]  # type: ignore[arg-type]
    monkeypatch.setattr(ContainedServer, "run", lambda *_arguments: Completed(0, b"a\x1fb\nc\x1ed\x1f\n", b"", False))
    assert SERVER.rows(None, "x", "SELECT") == [["a", "b\nc"], ["d", ""]]  # type: ignore[arg-type]


@pytest.mark.parametrize(("serving", "place"), [("mastodon_production", "postgres"), ("postgres", "template1")])
def test_no_database_is_renamed_from_within(monkeypatch: pytest.MonkeyPatch, serving: str, place: str) -> None:
    asked = []
    monkeypatch.setattr(ContainedServer, "execute", lambda _server, database, *_statements, **_options: asked.append(database))
    _database_swap.swap(SERVER, [(serving, "kept"), ("new", serving)], [])
    assert set(asked) == {place}


def test_a_busy_database_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def run(_server: ContainedServer, _host: Any, words: list[str], _environment: dict[str, str]) -> Completed:
        tries.append("--single-transaction" in words)
        busy = b'ERROR:  database "x" is being accessed by other users\nDETAIL:  There is 1 other session using the database.\n'
        return Completed(3, b"", busy, False) if tries.count(True) == 1 and tries[-1] else Completed(0, b"", b"", False)

    monkeypatch.setattr(ContainedServer, "run", run)
    _database_swap.swap(SERVER, [("x", "kept"), ("new", "x")], [])
    assert tries == [False, True, False, True]


def test_what_was_interrupted_is_neither_kept_nor_undone_before_the_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_operation: dict[str, Any]) -> ContainedServer:
        raise HostError("it does not run")

    monkeypatch.setattr(_contained_database, "server_of", unreachable)
    stopped = {"kind": "stopped", "unit": "social-web-1"}
    with pytest.raises(HostError, match="it does not run"):
        convert_encoding.completed([stopped, {"kind": "database_closed", "database": "x", **SERVER.journaled()}], print)
    assert not convert_encoding.completed([stopped], print)


def test_a_dump_that_cannot_be_removed_undoes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(_contained_database, "server_of", lambda _operation: SERVER)
    monkeypatch.setattr(_database_swap, "was_swapped", lambda _operation: True)
    monkeypatch.setattr(ContainedServer, "run", lambda *_arguments: Completed(1, b"", b"rm: cannot remove", False))
    dump = {"kind": "contained_dump", "path": "/data/fediops-0123", "mark": "0123", **SERVER.journaled()}
    assert convert_encoding.completed([dump, {"kind": "database_rename", **SERVER.journaled()}], said.append)
    assert said == ["the dump /data/fediops-0123 is left: /data/fediops-0123 in social-db-1 could not be removed: rm: cannot remove"]
