# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL client against servers that refuse, drip and ask for what it does not speak. Real logins: tests/live."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import database
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.database_target import password_file, targets
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres import Postgres
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError, Target, attempts, password_of

Serve = Callable[[Callable[[socket.socket], None]], int]
READY = b"R" + struct.pack("!ii", 8, 0) + b"K" + struct.pack("!iii", 12, 77, 1) + b"Z" + struct.pack("!i", 5) + b"I"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that hands each connection to a function; its port."""
    listeners: list[socket.socket] = []

    def start(talk: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            while True:
                try:
                    link = listener.accept()[0]
                except OSError:
                    return
                with link:
                    try:
                        talk(link)
                    except OSError:
                        pass

        threading.Thread(target=run, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for each in listeners:
        each.close()


def session(port: int, seconds: float = 5.0, sslmode: str = "disable", password: str = "secret") -> Postgres:
    where = Target("127.0.0.1", port, "mastodon", password, "db", sslmode)
    return Postgres(Host(time.monotonic() + 20).connect, where, seconds)


def error(state: str, message: str) -> bytes:
    body = b"SFATAL\x00C" + state.encode() + b"\x00M" + message.encode() + b"\x00\x00"
    return b"E" + struct.pack("!i", len(body) + 4) + body


def request(method: int, rest: bytes = b"") -> bytes:
    return b"R" + struct.pack("!ii", 8 + len(rest), method) + rest


def said(answer: bytes) -> Callable[[socket.socket], None]:
    def talk(link: socket.socket) -> None:
        link.recv(4096)
        link.sendall(answer)
        link.recv(4096)

    return talk


def test_an_error_of_tls_is_never_read_as_errno() -> None:
    assert error_kind(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")) == "tls"
    assert error_kind(ssl.SSLCertVerificationError(1, "certificate verify failed")) == "tls"


@pytest.mark.parametrize(
    "answer",
    [
        request(7),
        request(9),
        request(10, b"SCRAM-SHA-256-PLUS\x00\x00"),
        request(10, b"OAUTHBEARER\x00\x00"),
        request(77),
    ],
)
def test_methods_not_spoken_are_not_a_failed_login(serve: Serve, answer: bytes) -> None:
    with pytest.raises(PostgresError) as raised:
        session(serve(said(answer)))
    assert raised.value.kind == "unsupported"


def test_scram_is_chosen_from_the_list(serve: Serve) -> None:
    got: list[bytes] = []

    def talk(link: socket.socket) -> None:
        link.recv(4096)
        link.sendall(request(10, b"SCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00"))
        got.append(link.recv(4096))
        link.sendall(error("28P01", "password authentication failed"))

    with pytest.raises(PostgresError) as raised:
        session(serve(talk))
    assert (raised.value.kind, raised.value.state) == ("auth", "28P01")
    assert got[0][5:19] == b"SCRAM-SHA-256\x00"


def test_a_server_that_is_full_before_tls(serve: Serve) -> None:
    with pytest.raises(PostgresError) as raised:
        session(serve(said(error("08P01", "no more connections allowed (max_client_conn)"))), sslmode="prefer")
    assert raised.value.kind == "too_many"


@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_a_server_that_drips_ends_with_the_session(serve: Serve, sslmode: str) -> None:
    def talk(link: socket.socket) -> None:
        link.recv(4096)
        for byte in (b"N" if sslmode == "prefer" else b"") + b"S" + struct.pack("!i", 4000) + b"a" * 3000:
            link.sendall(bytes([byte]))
            time.sleep(0.05)

    begin = time.monotonic()
    with pytest.raises(PostgresError) as raised:
        session(serve(talk), seconds=0.6, sslmode=sslmode)
    assert raised.value.kind == "timeout"
    assert time.monotonic() - begin < 1.5


def test_the_order_of_attempts_is_that_of_libpq() -> None:
    where = Target("db.example", 5432, "", "", "", "prefer")
    assert attempts(where) == (True, False)
    assert attempts(where._replace(sslmode="allow")) == (False, True)
    assert attempts(where._replace(sslmode="verify-full")) == (True,)
    assert attempts(where._replace(host="/run/postgresql", sslmode="require")) == (False,)
    with pytest.raises(PostgresError):
        attempts(where._replace(sslmode="often"))


def test_prefer_goes_on_in_the_clear_where_tls_or_the_entry_fails(serve: Serve) -> None:
    """The server offers TLS and then talks nonsense; a second connection in the clear is welcome."""

    def talk(link: socket.socket) -> None:
        if link.recv(4096)[4:8] == struct.pack("!i", 80877103):
            link.sendall(b"S")
            link.recv(4096)
            link.sendall(b"this is not TLS at all")
        else:
            link.sendall(READY)
            link.recv(4096)

    port = serve(talk)
    with session(port, sslmode="prefer") as opened:
        assert opened.backend == 77
    with pytest.raises(PostgresError) as raised:
        session(port, sslmode="require")
    assert raised.value.kind == "tls"


def test_password_file() -> None:
    text = "# a comment\nother:*:*:*:no\n[x\ndb.example:5432:*:mastodon:with\\:colon\\\\\nlocalhost:*:*:*:by socket\n"
    where = Target("db.example", 5432, "mastodon", "", "mastodon_production")
    assert password_of(text, where) == "with:colon\\"
    assert password_of(text, where._replace(host="/var/run/postgresql")) == "by socket"
    assert password_of(text, where._replace(port=1)) == ""


def test_settings_lead_where_rails_and_libpq_go() -> None:
    only = targets({}, "/home/m")[0]
    assert (only.label, only.user, only.database, only.sslmode) == ("localhost:5432", "mastodon", "mastodon_production", "prefer")
    assert only.certificates.root == "/home/m/.postgresql/root.crt"
    assert targets({"DB_HOST": ""}, "")[0].host == "/var/run/postgresql"
    url = "postgresql://u:p%40w@db/name?sslmode=verify-full&sslrootcert=/etc/ca.pem"
    parted = targets({"DATABASE_URL": url, "DB_PORT": "6432", "DB_HOST": "no"}, "")[0]
    assert parted[:6] == ("db", 6432, "u", "p@w", "name", "verify-full")
    assert parted.certificates.root == "/etc/ca.pem"
    assert [each.label for each in targets({"DB_HOST": "a,b", "DB_PORT": "1,2"}, "")] == ["a:1", "b:2"]
    assert [each.label for each in targets({"DATABASE_URL": "postgresql:///x?host=a,b"}, "")] == ["a:5432", "b:5432"]
    assert password_file({"PGPASSFILE": "/x"}, "/home/m") == "/x"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"DB_HOST": "postgres://u:hidden@h/db"}, "configuration"),
        ({"DB_HOST": "u:hidden@h"}, "configuration"),
        ({"DB_NAME": "postgres://u:hidden@h/db"}, "configuration"),
        ({"DATABASE_URL": "postgresql://u:hidden@a,b/db"}, "configuration"),
        ({"DATABASE_URL": "postgresql:///db?host=u:hidden@b"}, "configuration"),
        ({"DATABASE_URL": "postgresql://u:hidden@a/db?target_session_attrs=read-write"}, "unsupported"),
        ({"DB_PORT": "hidden"}, "configuration"),
    ],
)
def test_settings_that_cannot_be_followed_show_no_secret(settings: dict[str, str], kind: str) -> None:
    with pytest.raises(PostgresError) as raised:
        targets(settings, "")
    assert raised.value.kind == kind
    assert "hidden" not in str(raised.value)


def observe(settings: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    for folder in ("migrate", "post_migrate"):
        (tmp_path / "db" / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "db" / "migrate" / "20250101000000_a.rb").write_text("")
    install: dict[str, Any] = {"root": str(tmp_path), "units": [], "_files": {}, "_environment": settings, "_dotenv": settings,
                               "version": {"number": [4, 4, 0]}}
    return database.observe(Host(time.monotonic() + 10), install)


def rows(*lines: list[str]) -> bytes:
    out = b""
    for line in lines:
        body = struct.pack("!h", len(line)) + b"".join(struct.pack("!i", len(each)) + each.encode() for each in line)
        out += b"D" + struct.pack("!i", len(body) + 4) + body
    return out + b"Z" + struct.pack("!i", 5) + b"I"


def answering(schema: bytes, pid: str = "77") -> Callable[[socket.socket], None]:
    def talk(link: socket.socket) -> None:
        link.recv(4096)
        link.sendall(READY)
        while True:
            question = link.recv(4096)
            if not question or question[:1] == b"X":
                return
            if b"schema_migrations" in question:
                link.sendall(schema + b"Z" + struct.pack("!i", 5) + b"I")
            else:
                link.sendall(rows(["170002", "17.2", "UTF8", "C", "100", "3", "5", pid, "f"]))

    return talk


@pytest.mark.parametrize(("state", "missing"), [("42P01", True), ("42501", False), ("57014", False), ("XX000", False)])
def test_only_a_missing_table_means_never_set_up(serve: Serve, tmp_path: Path, state: str, missing: bool) -> None:
    port = serve(answering(error(state, "said so")))
    facts = observe({"DB_HOST": "127.0.0.1", "DB_PORT": str(port), "DB_PASS": "x", "DB_SSLMODE": "disable"}, tmp_path)
    assert facts["reachable"] is True and facts["version_number"] == 170002
    assert facts.get("schema_missing", False) is missing
    assert ("schema" in facts) is missing
    assert ("_reason" in facts) is not missing


@pytest.mark.parametrize(("pid", "pooler"), [("77", None), ("4711", "unknown")])
def test_a_pooler_shows_by_the_number_of_the_process(serve: Serve, tmp_path: Path, pid: str, pooler: str | None) -> None:
    port = serve(answering(error("42P01", ""), pid))
    facts = observe({"DB_HOST": "127.0.0.1", "DB_PORT": str(port), "DB_SSLMODE": "disable"}, tmp_path)
    assert facts["pooler"] == pooler


def test_the_second_host_is_asked_when_the_first_is_down(serve: Serve, tmp_path: Path) -> None:
    down = socket.create_server(("127.0.0.1", 0))
    ports = [down.getsockname()[1], serve(answering(error("42P01", "")))]
    down.close()
    facts = observe({"DB_HOST": "127.0.0.1,127.0.0.1", "DB_PORT": ",".join(map(str, ports)), "DB_SSLMODE": "disable"}, tmp_path)
    assert facts["reachable"] is True
    assert facts["address"] == f"127.0.0.1:{ports[1]}"


def test_what_is_not_spoken_leaves_the_facts_absent(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="GSSAPI"):
        observe({"DB_HOST": "127.0.0.1", "DB_PORT": str(serve(said(request(7)))), "DB_SSLMODE": "disable"}, tmp_path)


def test_a_server_that_repeats_the_password_is_not_quoted(serve: Serve, tmp_path: Path) -> None:
    port = serve(said(error("28P01", "no: qX7z and p%40ss")))
    facts = observe({"DATABASE_URL": f"postgresql://u:p%40ss@127.0.0.1:{port}/x?sslmode=disable", "DB_PASS": "qX7z"}, tmp_path)
    assert facts["error"]["kind"] == "auth"
    assert "qX7z" not in facts["error"]["message"] and "p%40ss" not in facts["error"]["message"]


def test_a_url_as_host_is_neither_shown_nor_asked(tmp_path: Path) -> None:
    facts = observe({"DB_HOST": "postgres://u:hidden@h/db"}, tmp_path)
    assert facts["error"]["kind"] == "configuration" and "DB_HOST" in facts["error"]["message"]
    assert "hidden" not in str(facts) and "address" not in facts
