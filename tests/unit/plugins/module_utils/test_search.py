# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers at ES_HOST. No search server can be had here: its answers are those of its documentation, over real connections.

Live: search_server_gone, search_server_speaks_tls, search_server_wants_login.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import subprocess
import threading
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.search import Place, observe, place_of

ELASTIC = {"name": "es", "version": {"number": "7.17.29", "build_flavor": "default"}, "tagline": "You Know, for Search"}
OPEN = {"version": {"distribution": "opensearch", "number": "2.11.0", "minimum_wire_compatibility_version": "7.10.0"}}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def server(answers: dict[str, bytes], tls: ssl.SSLContext | None = None, got: list[bytes] | None = None) -> Iterator[int]:
    """Its port. What is not in `answers` is not answered: the connection is closed."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                link = listening.accept()[0]
                with contextlib.suppress(OSError), link:
                    link.settimeout(5)
                    talk = tls.wrap_socket(link, server_side=True) if tls else link
                    asked = talk.recv(4096)
                    if got is not None:
                        got.append(asked)
                    talk.sendall(answers.get(asked.partition(b" ")[2].partition(b" ")[0].decode("latin-1"), b""))
                    talk.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)  # accept would go on in its thread
        listening.close()


def answer(body: Any, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n".encode() + json.dumps(body).encode()


def seen(port: int, number: tuple[int, ...] = (4, 4, 22), **settings: str) -> dict[str, Any]:
    environment = {"ES_ENABLED": "true", "ES_HOST": "127.0.0.1", "ES_PORT": str(port), **settings}
    install = {"_files": {}, "units": [], "root": "/srv/live", "_environment": environment, "version": {"number": list(number)}}
    found = observe(Host(time.monotonic() + 10), install)
    assert "secret" not in json.dumps(found)
    return {key: value for key, value in found.items() if key not in ("enabled", "address", "tls")}


@pytest.mark.parametrize(
    ("told", "number", "expected"),
    [
        (ELASTIC, (4, 4), {"version": "7.17.29", "version_supported": True}),
        ({"version": {"number": "6.8.23"}}, (4, 4), {"version": "6.8.23", "version_supported": False}),
        ({"version": {"number": "6.8.23"}}, (3, 4), {"version": "6.8.23"}),
        ({"version": {"number": "8.19.2"}}, (4, 6), {"version": "8.19.2", "version_supported": True}),
        (OPEN, (4, 4), {"version": "2.11.0", "distribution": "opensearch"}),
        ({"version": {"number": "9" * 40}}, (4, 4), {"version": "9" * 40}),
        ({"version": {"number": "2.0", "distribution": "\x1b[31m"}}, (4, 4), {"version": "2.0", "distribution": "unknown"}),
        *(({"version": {"number": number}}, (4, 4), {}) for number in ("x" * 41, "\u00b2.0", "\ud800", "7 8", "", None, ["7"])),
        ({"version": "7"}, (4, 4), {}),
        (["no object"], (4, 4), {}),
    ],
)
def test_who_answers(told: Any, number: tuple[int, ...], expected: dict[str, Any]) -> None:
    with server({"/": answer(told), "/_cluster/health": answer({"status": "yellow"})}) as port:
        health = {"health": "yellow"} if "version" in expected else {}
        assert seen(port, number) == {"status": 200, **expected, **health}


@pytest.mark.parametrize("body", [b"another", b"\xff\xfe{\0}\0", b"[" * 60000, b"{" * 70000])
def test_what_is_no_answer_of_a_search_server(body: bytes) -> None:
    with server({"/": b"HTTP/1.1 200 OK\r\n\r\n" + body}) as port:
        assert seen(port) == {"status": 200}


def test_the_password_is_sent_and_refused() -> None:
    got: list[bytes] = []
    with server({"/": answer({}, "401 Unauthorized")}, got=got) as port:
        assert seen(port, ES_USER="mastodon", ES_PASS="a secret of Mastodon") == {"status": 401}
    assert b"\r\nAuthorization: Basic bWFzdG9kb246YSBzZWNyZXQgb2YgTWFzdG9kb24=\r\n" in got[0]


def test_nobody_answers() -> None:
    with server({}) as port:
        assert seen(port)["error"]["kind"] == "reset"
    assert seen(port)["error"]["kind"] == "refused"
    assert seen(port, ES_HOST="none.invalid")["error"]["kind"] == "dns"
    assert seen(port, ES_HOST="a..b")["error"]["kind"] == "dns"
    with server({"/": b"SSH-2.0-OpenSSH_10.0\r\n"}) as port:
        assert seen(port)["error"]["kind"] == "protocol"


def test_one_that_never_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert seen(silent.getsockname()[1])["error"]["kind"] == "timeout"
        assert 4 < time.monotonic() - started < 8


def test_an_answer_counts_when_it_is_whole() -> None:
    """Whether the server closes the connection then, breaks it or leaves it open."""
    whole = json.dumps(ELASTIC).encode()
    listening = socket.create_server(("127.0.0.1", 0))
    held = []

    def serve() -> None:
        for broken in (True, True, False, False):
            link = listening.accept()[0]
            held.append(link)
            link.recv(4096)
            time.sleep(0.1)
            link.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(whole) + broken) + whole)
            if broken:
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                link.close()

    with listening:
        threading.Thread(target=serve, daemon=True).start()
        for _way in ("broken", "open"):
            started = time.monotonic()
            assert seen(listening.getsockname()[1])["version"] == "7.17.29"
            assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n<h1>The plain HTTP request was sent to HTTPS port</h1>", {"error": "tls"}),
        (b"HTTP/1.1 301 Moved\r\nServer: x\r\nLocation: https://es.example/\r\n\r\n", {"error": "tls"}),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", {"status": 302}),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", {"status": 400}),
        (b"HTTP/1.1 " + b"9" * 55 + b" OK\r\n\r\n", {"error": "protocol"}),
        (CHUNKED + b"1c\r\n{\"version\":{\"number\":\"7.17\"}}\r\n0\r\n\r\n", {"status": 200, "version": "7.17"}),
    ],
)
def test_other_answers(told: bytes, expected: dict[str, Any]) -> None:
    with server({"/": told}) as port:
        found = seen(port)
        assert {"error": found["error"]["kind"]} == expected if "error" in found else expected.items() <= found.items(), found


def test_tls(tmp_path: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    got: list[bytes] = []
    with server({"/": answer(ELASTIC)}, context, got) as port:
        known = {"ES_HOST": "https://localhost", "ES_USER": "u", "ES_PASS": "p"}
        assert seen(port, **known)["error"]["kind"] == "certificate"
        assert seen(port, **known, ES_CA_FILE="/no/such")["error"] == {"kind": "certificate", "message": "there is no such ES_CA_FILE"}
        assert got == []  # it was not told the password
        assert seen(port, **known, ES_CA_FILE=str(tmp_path / "cert"))["version"] == "7.17.29"
        assert seen(port)["error"]["kind"] in ("reset", "protocol")
    with server({"/": answer(ELASTIC)}) as port:
        assert seen(port, ES_HOST="https://localhost")["error"]["kind"] == "tls"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Place("localhost", 9200, False, "", "")),
        ({"ES_HOST": "es:9300", "ES_PASS": "of nobody"}, Place("es", 9300, False, "", "")),
        ({"ES_HOST": "https://a%40b:c@es.example", "ES_CA_FILE": "ca"}, Place("es.example", 9200, True, "a%40b:c", "/srv/live/ca")),
        ({"ES_HOST": "https://es.example", "ES_PORT": ""}, Place("es.example", 443, True, "", "")),
        ({"ES_HOST": "http://[::1]"}, Place("::1", 9200, False, "", "")),
        ({"ES_USER": " ", "ES_PASS": "p"}, Place("localhost", 9200, False, "", "")),
    ],
)
def test_where_it_is(settings: dict[str, str], expected: Place) -> None:
    assert place_of(settings, "/srv/live") == expected


def test_the_address_that_is_shown() -> None:
    assert Place("es.example", 443, True, "a:b", "").address == "es.example:443"
    assert Place("::1", 9200, False, "", "").address == "[::1]:9200"


@pytest.mark.parametrize(
    "settings",
    [
        {"ES_PORT": "many"}, {"ES_PORT": "99999"}, {"ES_PORT": "9200/"}, {"ES_USER": "elastic"},
        *({"ES_HOST": host} for host in (
            "", "ftp://es", "http://es:9200", "https://es.example/es", "a,b", "secret@es", "http://elastic:12#secret@es", "es\udce9",
            "http://\u2100.example", "http://[::1", "::1",
        )),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_not_asked(settings: dict[str, str]) -> None:
    found = seen(9200, **{"ES_PORT": "9200", "ES_HOST": "localhost", **settings})
    assert "does not understand where ES_HOST, ES_PORT and ES_USER lead" in found.pop("_partly")
    assert found == {}


def test_not_asked_when_search_is_off() -> None:
    assert observe(Host(time.monotonic() + 10), {"_files": {}, "units": [], "_environment": {"ES_ENABLED": "yes"}}) == {"enabled": False}
