# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probe against a server that keeps posts in memory and fails on command, in ways a real one cannot be made to: nothing stays on it.

With Mastodon's stand-in, its database and its jobs: tests/live/test_post_probe*.py.
"""

from __future__ import annotations

import html
import json
import os
import re

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._probe import apart, cleaner, posts
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.client import Unfit
from ansible_collections.fediops.mastodon.tests.unit.fixtures.tls_server import TlsServer, certificate, plain

WHOLE = 18  # requests of a whole probe


class Server:
    """Posts and uploads of one account. `lose`, `break_`: number of the request whose answer is lost, or a 500 although it was done."""

    def __init__(self, pem, *, tells_account=True):
        self.posts, self.media, self.keys = {}, set(), {}
        self.lose = self.break_ = 0
        self._tells_account = tells_account
        self._pem = pem
        self.tls = TlsServer(pem, self._answer)

    def options(self, folder, **changes):
        return {
            "token": "Vogel-1234", "url": self.tls.url, "address": "127.0.0.1", "ca_path": str(self._pem), "validate_certs": True,
            "media": "auto", "timeout": 5.0, "state_dir": str(folder / "state"), **changes,
        }  # fmt: skip

    def probe(self, folder, stop_at=0):
        """What was told, and whether it was told once; the probe is stopped ahead of a request."""
        told, asked = [], []

        def going_on():
            asked.append(1)
            if len(asked) == stop_at:
                raise Unfit("the probe was interrupted")

        posts.probe(self.options(folder), going_on, told.append)
        (one,) = told
        return one

    @property
    def left(self):
        return len(self.posts), len(self.media)

    def _answer(self, request, _link):
        status, value = self._do(request)
        if request.number == self.lose:
            return []
        if request.number == self.break_:
            status, value = 500, {"error": "broken"}
        return [plain(f"{status} X", json.dumps(value).encode(), "Content-Type: application/json", "X-Request-Id: made-by-us")]

    def _do(self, request):
        path, method = request.path.partition("?")[0], request.method
        if path == "/api/v1/instance":
            return 200, {"version": "4.4.22"}
        if path == "/api/v1/accounts/verify_credentials":
            return (200, {"id": "7"}) if self._tells_account else (403, {"error": "outside the authorized scopes"})
        if path == "/api/v1/accounts/7/statuses":
            return 200, list(self.posts.values())
        if path == "/api/v2/media":
            self.media.add(str(request.number))
            return 202, {"id": str(request.number)}
        if (method, path) == ("POST", "/api/v1/statuses"):
            return 200, self._create(request)
        kind, name = re.fullmatch(r"/api/v1/(statuses|media)/(\w+)", path).groups()
        if kind == "media":
            known = name in self.media
            if method == "DELETE":
                self.media.discard(name)
            return (200, {"id": name}) if known else (404, {"error": "Record not found"})
        post = self.posts.pop(name, None) if method == "DELETE" else self.posts.get(name)
        return (200, post) if post else (404, {"error": "Record not found"})

    def _create(self, request):
        given = json.loads(request.body)
        assert given["visibility"] == "direct"
        name = self.keys.setdefault(request.headers["idempotency-key"], str(request.number))
        if name == str(request.number):
            self.posts[name] = {
                "id": name, "account": {"id": "7"}, "visibility": "direct", "content": f"<p>{html.escape(given['status'])}</p>",
                "created_at": "2025-11-21T16:00:00.000Z", "media_attachments": [{"id": one} for one in given["media_ids"]],
            }  # fmt: skip
        return self.posts[name]


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(pem):
    running = Server(pem)
    with running.tls:
        yield running


def kept(folder):
    return os.listdir(folder / "state") if (folder / "state").exists() else []


def test_a_whole_probe(server, tmp_path):
    told = server.probe(tmp_path)
    assert told["state"] == "ok" and {name: post["state"] for name, post in told["facts"]["posts"].items()} == {
        "plain": "ok", "unicode": "ok", "media": "ok",
    }  # fmt: skip
    assert (told["facts"]["left"], told["facts"]["version"], server.left, kept(tmp_path)) == ([], "4.4.22", (0, 0), [])
    assert len(server.tls.seen) == WHOLE


@pytest.mark.parametrize("number", range(1, WHOLE))
def test_stopped_ahead_of_a_request(server, tmp_path, number):
    told = server.probe(tmp_path, stop_at=number)
    assert (told["state"], told["reason"]) == ("failed", "the probe was interrupted")
    assert told["facts"].get("left", []) == [] and server.left == (0, 0) and kept(tmp_path) == []


@pytest.mark.parametrize("number", [*range(1, 12), *range(13, WHOLE + 1)])
@pytest.mark.parametrize("how", ["lose", "break_"])
def test_one_answer_that_does_not_come(server, tmp_path, number, how):
    setattr(server, how, number)
    told = server.probe(tmp_path)
    assert told["facts"].get("left", []) == [] and server.left == (0, 0) and kept(tmp_path) == []


def test_an_upload_without_an_answer_is_told_of(server, tmp_path):
    server.lose = 12
    told = server.probe(tmp_path)
    assert server.tls.seen[11].path == "/api/v2/media" and server.left == (0, 1) and kept(tmp_path) == []
    (left,) = told["facts"]["left"]
    assert left["kind"] == "media" and left["gone_within_seconds"] == 2 * 86400 and "with it its id" in left["reason"]
    assert told["facts"]["posts"]["media"]["step"] == "upload"


def test_whose_posts_to_look_through_is_told_by_the_same_key(pem, tmp_path):
    server = Server(pem, tells_account=False)
    with server.tls:
        server.lose = 3
        told = server.probe(tmp_path)
    created = [request for request in server.tls.seen if request.path == "/api/v1/statuses"]
    assert len(created) == 2 and len({request.headers["idempotency-key"] for request in created}) == 1
    assert told["facts"]["left"] == [] and server.left == (0, 0) and kept(tmp_path) == []


def test_what_cannot_be_deleted_is_told_and_deleted_by_the_next(server, tmp_path, monkeypatch):
    monkeypatch.setattr(posts, "CLEAN_SECONDS", 0.5)
    monkeypatch.setattr(posts, "UNSURE_SECONDS", 0.5)
    do = server._do
    server._do = lambda request: (500, {}) if request.method == "DELETE" else do(request)
    told = server.probe(tmp_path)
    assert told["facts"]["posts"]["plain"]["step"] == "delete"
    assert [(entry["kind"], "answered 500" in entry["reason"]) for entry in told["facts"]["left"]] == [("post", True)]
    assert server.left == (1, 0) and len(kept(tmp_path)) == 1
    server._do = do
    told = server.probe(tmp_path)
    assert told["facts"]["cleaned"] == 1 and server.left == (0, 0) and kept(tmp_path) == []


def test_what_a_server_still_makes_of_a_lost_request_is_waited_for(server, tmp_path, monkeypatch):
    """It hung up and posts a moment later: the answer was lost, the request was not."""
    monkeypatch.setattr(posts, "CLEAN_SECONDS", 0.1)
    late, do = [], server._do

    def hang(request):
        if (request.method, request.path) == ("POST", "/api/v1/statuses"):
            late.append(request)
            server.lose = request.number
            return 0, {}
        if late and request.path.startswith("/api/v1/accounts/7/") and len(server.tls.seen) > request.number - 1 and len(late) == 1:
            late.append(None)
            answer = do(request)
            do(late[0])
            return answer
        return do(request)

    server._do = hang
    told = server.probe(tmp_path)
    assert "may still make it" in told["facts"]["left"][0]["reason"]
    assert server.left == (0, 0) and kept(tmp_path) == []
    assert cleaner.UNSURE_SECONDS > 100


def test_damaged_text_is_told(server, tmp_path):
    create = server._create

    def forget(request):
        post = create(request)
        post["content"] = post["content"].encode("ascii", "replace").decode()
        return post

    server._create = forget
    told = server.probe(tmp_path)
    post = told["facts"]["posts"]["unicode"]
    assert (post["state"], post["step"], post["error"]["kind"]) == ("damaged", "read", "text")
    assert "was sent as '\\U0001f418" in post["error"]["message"] and server.left == (0, 0)


def test_in_a_process_of_its_own(server, tmp_path):
    told = apart.run_apart(server.options(tmp_path, state_dir=str(tmp_path / "ours" / "state")))
    assert oct((tmp_path / "ours").stat().st_mode & 0o777) == "0o700" and os.listdir(tmp_path / "ours" / "state") == []
    assert told["state"] == "ok" and set(told["facts"]["posts"]) == {"plain", "unicode", "media"} and told["seconds"] > 0
    assert server.left == (0, 0)
