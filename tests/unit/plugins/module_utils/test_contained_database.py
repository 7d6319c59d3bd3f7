# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PostgreSQL of a compose project is the app's. Live: tests/live/test_compose_fixes.py."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _contained_database, _contained_dump, convert_encoding
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import ContainedServer
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


def test_whoever_else_uses_the_database_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    change = changing(monkeypatch, [["127.0.0.1"], ["172.18.0.2"], ["10.0.0.9"]])
    assert _contained_dump.strangers(change, SERVER, "mastodon_production") == ["10.0.0.9"]


def test_what_a_host_does_with_dumps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    change = changing(monkeypatch, [["t", "t"]], server_encoding="LATIN1")
    change.install["compose"], change.step["options"] = {}, {"dump": "/backup"}
    with pytest.raises(Refused, match="leave out the option dump"):
        convert_encoding.fix(change)


def test_an_image_without_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ContainedServer, "run", lambda _server, _host, words, _environment: Completed(0 if words[0] == "pg_dump" else 127, b"", b"", False)
    )
    with pytest.raises(Refused, match="pg_restore is not in the image of social-db-1"):
        _contained_dump.demand_tools(changing(monkeypatch, []), SERVER)


class Written:
    """A journal that is only looked at."""

    def __init__(self) -> None:
        self.operations: list[dict[str, Any]] = []

    def record(self, _step: dict[str, Any], operation: dict[str, Any]) -> None:
        self.operations.append(operation)

    def say(self, _text: str) -> None:
        return


def test_a_failed_dump_says_why_and_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def run(_server: ContainedServer, _host: Any, words: list[str], environment: dict[str, str]) -> Completed:
        ran.append((words, environment))
        return Completed(1 if words[0] == "pg_dump" else 0, b"", b"pg_dump: warning\npg_dump: error: no space left\n", False)

    monkeypatch.setattr(ContainedServer, "run", run)
    change = changing(monkeypatch, [["1"]])
    change.journal = journal = Written()  # type: ignore[assignment]
    with pytest.raises(HostError, match=r"pg_dump of x'y failed: pg_dump: error: no space left"):
        _contained_dump.dumped(change, SERVER, "x'y", "0123")
    assert r"--dbname=dbname='x\'y'" in ran[0][0] and list(ran[0][1].values()) == ["0123"]
    _contained_dump.remove(journal.operations[0], print)
    assert ran[1][0] == ["rm", "-rf", "/tmp/fediops-mastodon-0123"]
