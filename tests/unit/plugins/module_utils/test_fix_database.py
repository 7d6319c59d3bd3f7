# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fixes of the database decide from text: pgbouncer.ini, phases, settings, quoting. Real servers: tests/live."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import (
    _database_swap,
    _direct,
    _dump,
    _leftovers,
    _pgbouncer,
    _superuser,
)
from ansible_collections.fediops.mastodon.plugins.module_utils._fix.convert_encoding import _named
from ansible_collections.fediops.mastodon.plugins.module_utils._fix.migrate_database import phases, why_it_failed
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import Target

INI = r"""
;; database name = connect string
[databases]
mastodon_production = host=10.0.0.5,10.0.0.6 port=5433 dbname=real user=owner password='it''s \one' pool_size=5
"quoted-name" = port=5432
# * = host=ignored
* = host=fallback

%include /etc/pgbouncer/more.ini
[users]
mastodon = pool_mode=session
"""
MORE = "[pgbouncer]\nlisten_port = 6543\nunix_socket_dir=/run/pg\nserver_tls_sslmode = verify-full\n"


def configuration() -> _pgbouncer.Configuration:
    files = {"/etc/pgbouncer/pgbouncer.ini": INI, "/etc/pgbouncer/more.ini": MORE}
    return _pgbouncer.read("/etc/pgbouncer/pgbouncer.ini", files.__getitem__)


def test_pgbouncer_names_the_server_behind() -> None:
    behind = configuration().behind("mastodon_production")
    assert behind == _pgbouncer.Behind(("10.0.0.5", "10.0.0.6"), 5433, "real", "owner", "it's \\one", "verify-full")
    assert configuration().port == 6543


def test_pgbouncer_without_host_goes_by_its_socket_and_unknown_names_by_the_star() -> None:
    socket = configuration().behind("quoted-name")
    assert socket is not None and socket.hosts == ("/run/pg",) and socket.database == "quoted-name"
    star = configuration().behind("other")
    assert star is not None and star.hosts == ("fallback",) and star.database == "other" and star.port == 5432
    assert _pgbouncer.read("x", lambda _path: "[pgbouncer]\n").behind("other") is None


def test_pgbouncer_that_includes_itself_ends() -> None:
    with pytest.raises(HostError, match="files deep"):
        _pgbouncer.read("x", lambda _path: "%include x")


def test_only_plain_passwords_of_a_userlist_count() -> None:
    text = '"mastodon" "pl""ain"\n"old" "md5' + "0" * 32 + '"\n"new" "SCRAM-SHA-256$4096:x"\n;"off" "x"\n'
    assert _pgbouncer.userlist(text) == {"mastodon": 'pl"ain'}


@pytest.mark.parametrize(
    ("before", "after", "newest", "number", "order"),
    [
        (["a"], [], "20200101000000", (4, 4, 0), ("all",)),
        ([], ["b"], "20200101000000", (4, 4, 0), ("all",)),
        (["a"], ["b"], "20230907150100", (4, 4, 0), ("before", "after")),
        (["a"], ["b"], "20230907150099", (4, 4, 0), ("stopped",)),
        (["a"], ["b"], "20230907150100", (4, 7, 0), ("stopped",)),
        (["a"], ["b"], "20100101000000", (4, 3, 0), ("before", "after")),
    ],
)
def test_phases(before: list[str], after: list[str], newest: str, number: tuple[int, ...], order: tuple[str, ...]) -> None:
    assert phases(before, after, newest, number) == order


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "bin/rails aborted!\nStandardError: An error, all later migrations canceled:\n\nPG::DuplicateTable: ERROR: x\nTasks: TOP\n",
            "PG::DuplicateTable: ERROR: x",
        ),
        ("This version of Mastodon requires PostgreSQL 13 or newer\n", "This version of Mastodon requires PostgreSQL 13 or newer"),
        (
            "a\nActiveRecord::ConcurrentMigrationError: Failed to release advisory lock\nTasks: TOP => db:migrate\n",
            "ActiveRecord::ConcurrentMigrationError: Failed to release advisory lock",
        ),
        ("", "it printed nothing"),
    ],
)
def test_why_a_migration_failed(output: str, words: str) -> None:
    assert why_it_failed(output) == words


def test_redirected_leads_a_url_to_the_target_and_keeps_the_rest() -> None:
    target = Target("/var/run/postgresql", 5433, "o@wner", "p:a/s%s", "real db", "disable")
    found = _direct.redirected({"DATABASE_URL": "postgres://u:secret@pool:6432/x?host=other&connect_timeout=5&sslmode=require"}, target)
    parts = urlsplit(found["DATABASE_URL"])
    assert (unquote(parts.username or ""), unquote(parts.password or ""), parts.port) == ("o@wner", "p:a/s%s", 5433)
    assert unquote(parts.path) == "/real db"
    assert parse_qs(parts.query) == {"connect_timeout": ["5"], "host": ["/var/run/postgresql"], "sslmode": ["disable"]}
    assert "secret" not in found["DATABASE_URL"] and found["DB_PASS"] == "p:a/s%s"
    assert "DATABASE_URL" not in _direct.redirected({}, target)
    assert "@[::1]:5433/" in _direct.redirected({"DATABASE_URL": "postgresql://u@pool/x"}, target._replace(host="::1"))["DATABASE_URL"]


def test_nothing_of_libpq_is_empty() -> None:
    assert _direct.libpq(Target("h", 1, "u", "", "d")) == {
        "PGHOST": "h",
        "PGPORT": "1",
        "PGUSER": "u",
        "PGDATABASE": "d",
        "PGSSLMODE": "prefer",
    }


@pytest.mark.parametrize("text", ["plain", 'we"ird', "it's", "back\\slash'", "dbname=other host=evil"])
def test_names_cannot_break_out(text: str) -> None:
    assert _superuser.name(text)[1:-1].replace('""', "") == text.replace('"', "")
    words = _superuser.conninfo(text)
    assert words[0] == words[-1] == "'" and words[1:-1].replace("\\\\", "").replace("\\'", "").count("'") == 0
    quoted = _superuser.literal(text).strip()
    assert quoted.startswith("E'" if "\\" in text else "'")


def test_new_names_fit_and_can_be_read_in_a_report() -> None:
    assert _named("x" * 70, "before_unicode", "20261121_090000") == "x" * 32 + "_before_unicode_20261121_090000"
    assert len(_named("\u00e9" * 40, "before_unicode", "20261121_090000").encode()) <= 63


def test_creation_names_libc_only_where_there_is_a_choice() -> None:
    known = {"owner": 'o"w', "tablespace": "pg_default", "server": "150004"}
    assert " LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'" in _database_swap.creation("n", known, "C.UTF-8")
    assert 'OWNER "o""w"' in _database_swap.creation("n", known, "C.UTF-8")
    assert "PROVIDER" not in _database_swap.creation("n", dict(known, server="140009"), "C")


@pytest.mark.parametrize(
    ("option", "directory"),
    [(None, ""), ("false", ""), (False, ""), ("true", _dump.DIRECTORY), (True, _dump.DIRECTORY), ("/srv/d/", "/srv/d")],
)
def test_wanted_directory(option: object, directory: str) -> None:
    assert _dump.wanted_directory(option) == directory
    with pytest.raises(Refused, match="absolute path"):
        _dump.wanted_directory("backups")


def test_room_is_counted_once_a_filesystem(tmp_path: Path) -> None:
    host = Host(time.monotonic() + 10)
    space = os.statvfs(tmp_path)
    free = space.f_bavail * space.f_frsize
    _dump.demand_room(host, [(str(tmp_path / "not/yet/there"), 1, "the dump")])
    with pytest.raises(Refused, match="the dump and the new database need up to"):
        _dump.demand_room(host, [(str(tmp_path), free // 2 + 1, "the dump"), (str(tmp_path / "deeper"), free // 2 + 1, "the new database")])


def test_a_whole_dump_outlives_the_undo_of_a_migration(tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for path, mode in ((whole, 0o400), (torn, 0o600)):
        path.touch()
        path.chmod(mode)
        for _again in range(2):
            _dump.remove_torn({"path": str(path), "mark": _leftovers.new_mark()}, print)
    assert whole.exists() and not torn.exists()
    _dump.remove({"path": str(whole), "mark": _leftovers.new_mark()}, print)
    assert not whole.exists()


def test_leftovers_are_found_by_their_mark_waited_for_and_ended() -> None:
    mark = _leftovers.new_mark()
    script = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(script, env=dict(os.environ, **_leftovers.marked(mark)), start_new_session=True) as process:
        deadline = time.monotonic() + 10
        while _leftovers.processes(mark) != [process.pid]:
            assert time.monotonic() < deadline
        said: list[str] = []
        with pytest.raises(HostError, match="db:migrate of an interrupted run still works"):
            _leftovers.wait_for(mark, 0.1, said.append, "db:migrate")
        assert len(said) == 1
        assert _leftovers.processes(_leftovers.new_mark()) == []
        _leftovers.kill(mark)
        assert process.wait(10) < 0
    _leftovers.wait_for(mark, 1.0, said.append, "db:migrate")
    assert len(said) == 1


def test_a_dump_goes_where_nobody_else_can_change_it(tmp_path: Path) -> None:
    """What is restored as the superuser of PostgreSQL must be what was dumped, and root chowns it by its name."""
    theirs = tmp_path / "home" / "backup"
    theirs.mkdir(parents=True)
    change = Change(run.new_steps([{"fix": "convert_encoding"}])[0], None, {}, {}, {})
    _dump.prepare(change, str(theirs), 26)
    os.chown(theirs.parent, 65534, 65534)
    with pytest.raises(Refused, match="home may be changed by others"):
        _dump.prepare(change, str(theirs), 26)
    os.chown(theirs.parent, 26, 26)
    _dump.prepare(change, str(theirs), 26)
    theirs.chmod(0o777)
    with pytest.raises(Refused, match="backup may be changed by others"):
        _dump.prepare(change, str(theirs), 26)
