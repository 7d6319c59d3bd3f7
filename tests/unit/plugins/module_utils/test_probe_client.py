# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probe's requests against servers that are not Mastodon, or mean harm: bounded, one sentence, and the token goes nowhere else."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._probe.api import Api, Failed
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.client import Client, NoAnswer, Unfit, server_of, tls_context
from ansible_collections.fediops.mastodon.tests.unit.fixtures.tls_server import TlsServer, certificate, plain

TOKEN = "Vogel-TOKEN-value-1234567890"
JSON = "Content-Type: application/json; charset=utf-8"


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


def client(server, pem, seconds=3.0, *, validate=True):
    return Client(server_of(server.url, "127.0.0.1"), tls_context(str(pem) if pem else "", validate), TOKEN, seconds)


def answering(*parts):
    return lambda _request, _link: parts


@pytest.mark.parametrize(
    ("url", "name", "port"),
    [
        ("https://mastodon.example", "mastodon.example", 443),
        ("https://Mastodon.example:8443/", "mastodon.example", 8443),
        ("https://m\u00e4stodon.example", "xn--mstodon-5wa.example", 443),
        ("https://192.0.2.7", "192.0.2.7", 443),
    ],
)
def test_a_url_names_a_server(url, name, port):
    assert server_of(url)[:2] == (name, port)


@pytest.mark.parametrize(
    "url",
    [
        "", "mastodon.example", "http://mastodon.example", "https://", "https://a b", "https://u:p@mastodon.example", "https://x/about",
        "https://x:99999", "https://x?y", "https://x\r\nHost: y", "ftp://x", "https://" + "a" * 300, "https://x..y", "https://[::1",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_server_is_refused(url):
    with pytest.raises(Unfit, match="url is https://"):
        server_of(url)


def test_a_redirect_is_not_followed(pem):
    with TlsServer(pem, answering(b"")) as other:
        told = plain("301 Moved", b"", f"Location: {other.url}/api/v1/instance")
        with TlsServer(pem, answering(told)) as server, pytest.raises(Unfit, match="redirects are not followed"):
            Api(client(server, pem)).version()
        with TlsServer(pem, answering(told)) as server, pytest.raises(Unfit, match="redirects are not followed"):
            Api(client(server, pem)).create("text", "key")
        assert other.seen == []


def test_nobody_is_shown_the_token_before_it_is_known_to_be_a_mastodon(pem):
    html = plain("200 OK", b"<html>It works!</html>", "Content-Type: text/html")
    with TlsServer(pem, answering(html)) as server, pytest.raises(Unfit, match=r"answered 200 with text/html .* is the url right\?"):
        Api(client(server, pem)).version()
    assert [request.headers.get("authorization") for request in server.seen] == [None]


def test_a_closed_federation_tells_members_its_version(pem):
    def answer(request, _link):
        if "authorization" in request.headers:
            return [plain("200 OK", b'{"version": "4.4.0+\\u001b[31mred"}', JSON)]
        return [plain("401 Unauthorized", b'{"error": "This method requires an authenticated user"}', JSON)]

    with TlsServer(pem, answer) as server:
        assert Api(client(server, pem)).version() == "4.4.0+red"


def test_a_certificate_of_nobody_shows_it_nothing(pem):
    with TlsServer(pem, answering(plain("200 OK"))) as server, pytest.raises(Unfit, match="certificate is not valid: self.signed"):
        Api(client(server, None)).version()
    assert server.seen == []


def test_a_certificate_for_another_name_shows_it_nothing(pem):
    with TlsServer(pem, answering(plain("200 OK"))) as server:
        other = Client(server_of(server.url.replace("mastodon.test", "other.test"), "127.0.0.1"), tls_context(str(pem), True), TOKEN, 3.0)
        with pytest.raises(Unfit, match="certificate is not valid: Hostname mismatch"):
            Api(other).version()
    assert server.seen == []


def test_a_ca_file_that_cannot_be_used(tmp_path):
    (tmp_path / "no.pem").write_text("no certificate", encoding="utf-8")
    for name in ("no.pem", "missing.pem"):
        with pytest.raises(Unfit, match=rf"ca_path .*{name} cannot be used: "):
            tls_context(str(tmp_path / name), True)


def test_an_endless_body_is_cut(pem):
    def answer(_request, _link):
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
        yield from itertools.repeat(b" " * 65536)

    with TlsServer(pem, answer) as server, pytest.raises(NoAnswer) as raised:
        client(server, pem).ask("GET", "/")
    assert (raised.value.kind, raised.value.sent) == ("protocol", True)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"])
def test_dripping_does_not_hold_us_longer(pem, start):
    def answer(_request, _link):
        yield start
        for _turn in range(100):
            time.sleep(0.1)
            yield b"x"

    began = time.monotonic()
    with TlsServer(pem, answer) as server, pytest.raises(NoAnswer, match="no answer within 1 s"):
        client(server, pem, 1.0).ask("GET", "/")
    assert time.monotonic() - began < 3


def test_a_connection_that_breaks_may_have_worked(pem):
    with TlsServer(pem, answering()) as server, pytest.raises(Failed) as raised:
        Api(client(server, pem)).create("text", "key")
    assert raised.value.may_have_worked and not raised.value.is_over
    assert raised.value.told["error"]["kind"] == "reset"
    assert raised.value.told["request_id"] == server.seen[0].headers["x-request-id"]


def test_where_nobody_listens_nothing_was_made(pem):
    with TlsServer(pem, answering()) as server:
        pass
    with pytest.raises(Failed) as raised:
        Api(client(server, pem)).create("text", "key")
    assert not raised.value.may_have_worked
    assert raised.value.told["error"]["kind"] == "refused"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("401 Unauthorized", "token is not valid here, make one with the scopes read:statuses, write:statuses and write:media"),
        ("403 Forbidden", "the token needs the scope write:statuses, and its account must be allowed to post"),
        ("429 Too Many Requests", "answered 429: said; try again later"),
    ],
)
def test_what_is_wrong_with_the_token_says_nothing_of_the_server(pem, status, sentence):
    with TlsServer(pem, answering(plain(status, b'{"error": "said"}', JSON))) as server, pytest.raises(Unfit, match=sentence):
        Api(client(server, pem)).create("text", "key")


def test_an_error_tells_its_request_and_never_the_token(pem):
    def answer(request, _link):
        said = json.dumps({"error": f"\x1b[31mgot {request.headers['authorization']} in a body\nof two lines" + "x" * 1000}).encode()
        return [plain("500 Oops", said, JSON, "X-Request-Id: 0e3c-1")]

    with TlsServer(pem, answer) as server, pytest.raises(Failed) as raised:
        Api(client(server, pem)).create("text", "key")
    told = raised.value.told
    assert (told["status"], told["request_id"], told["reached_application"]) == (500, "0e3c-1", True)
    assert raised.value.may_have_worked and raised.value.is_over
    said = str(raised.value)
    assert TOKEN not in json.dumps(told) and "\x1b" not in said and "\n" not in said and len(said) < 300


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"id": 7}', b'{"id": "../../x"}', b"[" * 100_000, b"\xff\xfe", b'{"id": "1"'],
)  # fmt: skip
def test_a_created_post_without_an_id_may_have_worked(pem, body):
    with TlsServer(pem, answering(plain("200 OK", body, JSON))) as server, pytest.raises(Failed, match="not that of Mastodon") as raised:
        Api(client(server, pem)).create("text", "key")
    assert raised.value.may_have_worked


def test_only_posts_of_probes_are_found(pem):
    marker = "fediops-probe-1763741234-0123456789abcdef"
    posts = [
        {"id": "1", "visibility": "direct", "content": f"<p>{marker} x</p>", "created_at": "2025-11-21T16:00:00.000Z"},
        {"id": "2", "visibility": "public", "content": f"<p>{marker} x</p>", "created_at": "2025-11-21T16:00:00.000Z"},
        {"id": "3", "visibility": "direct", "content": f"<p>look: {marker}</p>", "created_at": "2025-11-21T16:00:00.000Z"},
        {"id": "4", "visibility": "direct", "content": None, "created_at": "2025-11-20T16:00:00.000Z"},
        "5",
    ]
    with TlsServer(pem, answering(plain("200 OK", json.dumps(posts).encode(), JSON))) as server:
        assert Api(client(server, pem)).mine("7", 1763740000.0) == {"1": marker}
    assert len(server.seen) == 1
