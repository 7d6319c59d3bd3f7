# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe that posts, stopped at each of its requests or robbed of each answer: the database shows that nothing is left."""

from __future__ import annotations

import os
import signal
import time

from collections.abc import Iterator
from pathlib import Path

import pytest

from live import Box
from relay import Lost, Relay, Request, ended, left_in_database

FULL = "probe-token-with-all-scopes"
MINIMAL = "probe-token-with-least-scopes"
SCOPES = {FULL: "read:accounts read:statuses write:statuses write:media", MINIMAL: "read:statuses write:statuses write:media"}
NOTHING = ("0", "0")


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box.start("trixie") as started:
        started.ready()
        started.set_env(STANDIN_RATE_LIMIT="1000000", STANDIN_STATUS_LIMIT="1000000")
        started.run("systemctl restart mastodon-web")
        started.ready()
        for token, scopes in SCOPES.items():
            started.psql(
                "INSERT INTO oauth_access_tokens (resource_owner_id, token, scopes, created_at) "
                f"SELECT id, '{token}', '{scopes}', now() FROM users"
            )
        yield started


@pytest.fixture
def relay(box: Box, tmp_path: Path) -> Iterator[Relay]:
    with Relay(box, tmp_path, FULL) as running:
        yield running
    assert left_in_database(box) == NOTHING


def steps(relay: Relay) -> int:
    """How many requests a whole probe makes."""
    told = relay.probe()
    assert told["state"] == "ok" and {post["state"] for post in told["facts"]["posts"].values()} == {"ok"}, told
    assert (told["facts"]["left"], told["facts"]["skipped"]) == ([], {})
    return len(relay.seen)


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.thorough), "after"])
def test_stopped_at_every_request(relay: Relay, when: str) -> None:
    """SIGTERM while a request is on its way, or before its answer arrives."""
    whole = steps(relay)
    assert whole >= 14
    for number in range(1, whole + 1):

        def act(request: Request, now: str, number: int = number) -> None:
            if (request.number, now) == (number, when):
                relay.stop()

        relay.act = act
        told = relay.probe()
        assert told["facts"].get("left", []) == [], (number, told)
        assert left_in_database(relay.box) == NOTHING, (number, told)
        assert not relay.state_dir.exists() or not os.listdir(relay.state_dir), number


@pytest.mark.thorough
def test_every_answer_lost_once(relay: Relay) -> None:
    whole = steps(relay)
    lost: list[str] = []
    for number in range(1, whole + 1):
        lost.clear()

        def act(request: Request, now: str, number: int = number) -> None:
            if (request.number, now) == (number, "after"):
                lost.append(f"{request.method} {request.path}")
                raise Lost

        relay.act = act
        told = relay.probe()
        left = told["facts"].get("left", [])
        if lost[0] == "POST /api/v2/media":
            # Nobody can ask for an upload whose id was never heard; Mastodon deletes it by itself, and the probe says so.
            assert [entry["gone_within_seconds"] for entry in left] == [2 * 86400], (lost, told)
            assert left_in_database(relay.box, 1) == ("0", "1")
            relay.box.psql("DELETE FROM media_attachments WHERE remote_url = ''")
        assert lost[0] == "POST /api/v2/media" or left == [], (lost, told)
        assert left_in_database(relay.box) == NOTHING, (lost, told)
        assert not os.listdir(relay.state_dir) if relay.state_dir.exists() else True, lost


def test_an_answer_lost_without_the_right_to_ask_whose_posts(relay: Relay) -> None:
    """The same Idempotency-Key once more tells it."""

    def act(request: Request, now: str) -> None:
        if (request.method, request.path, now) == ("POST", "/api/v1/statuses", "after") and request.number < 6:
            relay.act = lambda _request, _when: None
            raise Lost

    relay.act = act
    told = relay.probe(token=MINIMAL)
    assert told["facts"]["posts"]["plain"]["error"]["kind"] == "reset", told
    posted = [request.headers["idempotency-key"] for request in relay.seen if request.path == "/api/v1/statuses"]
    assert len(posted) == 2 and posted[0] == posted[1]


@pytest.mark.parametrize("further", [0, *(pytest.param(number, marks=pytest.mark.thorough) for number in (1, 6, 9))])
def test_killed_and_the_next_probe_deletes_it(relay: Relay, further: int) -> None:
    """So many requests behind the first post; before it nothing can be left."""
    killed: list[int] = []
    first: list[int] = []

    def act(request: Request, now: str) -> None:
        if (request.method, request.path, now) == ("POST", "/api/v1/statuses", "before") and not first:
            first.append(request.number)
        if first and (request.number, now) == (first[0] + further, "after") and not killed:
            killed.append(relay.child)
            os.kill(relay.child, signal.SIGKILL)

    relay.act = act
    told = relay.probe()
    assert killed and "the process of the probe was killed" in told["reason"]
    assert len(os.listdir(relay.state_dir)) == 1
    told = relay.probe()
    assert told["state"] == "ok" and told["facts"]["cleaned"] >= 1, told
    if any("gone_within_seconds" in entry for entry in told["facts"]["left"]):
        relay.box.psql("DELETE FROM media_attachments WHERE remote_url = ''")


def test_the_one_who_asked_is_killed(relay: Relay) -> None:
    children = []

    def act(request: Request, now: str) -> None:
        if (request.method, request.path, now) == ("POST", "/api/v1/statuses", "after") and not children:
            children.append(relay.child)
            os.kill(relay.asker, signal.SIGKILL)

    relay.act = act
    relay.start().wait(30)
    assert children and ended(children[0])
    assert not os.listdir(relay.state_dir)


def test_posts_that_nobody_remembers_are_found(relay: Relay) -> None:
    """The disk of a controller that was killed may be gone with it."""
    old, new = ("fediops-probe-%d-0123456789abcdef" % when for when in (1763700000, int(time.time())))
    for marker in (old, new):
        assert relay.box.post(f"{marker} left", visibility="direct").status == 200
    relay.box.post(f"{old} of a person", visibility="unlisted")
    told = relay.probe()
    assert told["facts"]["cleaned"] == 1, told
    rows = relay.box.psql("SELECT text FROM statuses WHERE deleted_at IS NULL AND text LIKE 'fediops-probe-%' ORDER BY id").split("\n")
    assert rows == [f"{new} left", f"{old} of a person"]
    relay.box.psql("DELETE FROM statuses WHERE text LIKE 'fediops-probe-%'")
