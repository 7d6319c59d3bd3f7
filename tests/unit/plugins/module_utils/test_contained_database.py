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
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _contained_database
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import ContainedServer

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
