# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests in journals that were recorded on real servers: all lines of each, and no other's."""

from __future__ import annotations

import re

from pathlib import Path

import pytest

from ansible_collections.fediops.mastodon.tests.unit.fixtures.log_door import FIXTURES
from ansible_collections.fediops.mastodon.tests.unit.fixtures.trace_door import Machine, recorded, texts, trace


def failed_requests(path: Path) -> list[tuple[str, str]]:
    """(id, fixture) of requests that a recording says were answered with 500."""
    text = path.read_bytes().decode("utf-8", "ignore")
    return [(found, path.name) for found in re.findall(r"\[([0-9a-f-]{36})\] method=\S+ path=\S+ .*?status=500\b", text)]


RECORDED = [one for path in sorted(FIXTURES.glob("debian-*.export")) for one in failed_requests(path)[:1]]


@pytest.mark.parametrize(("request_id", "name"), RECORDED, ids=[name for _id, name in RECORDED])
def test_recorded_requests(request_id: str, name: str) -> None:
    machine = recorded(FIXTURES / name)
    told = trace(machine, request_id, since=0.0)
    assert told["clues"]["requests"][0]["status"] == 500
    tagged = [text for _at, _unit, text, _pid in machine.entries if request_id.encode() in text]
    assert len(texts(told, "id")) == len(tagged)
    others = {found for text in texts(told) for found in re.findall(r"\[([0-9a-f-]{36})\]", text)}
    assert others == {request_id}
    blocks = [text for text in tagged if b"(" in text and b"status=" not in text]
    assert bool(told["stacks"]) == bool(blocks or b" error='" in tagged[0])


@pytest.mark.parametrize("version", ["1.22.1", "1.26.3"])
def test_recorded_answers_of_the_proxy(version: str) -> None:
    files = {f"/var/log/nginx/{name}.log": (FIXTURES / f"nginx-{version}-{name}.log").read_bytes() for name in ("access", "error")}
    config = b"http { access_log /var/log/nginx/access.log; "
    config += b"server { server_name mastodon.test; location / { proxy_pass http://127.0.0.1:3000; } } }"
    told = trace(Machine([], {**files, "/etc/nginx/nginx.conf": config}, dict.fromkeys(files, 4e9)), "", since=0.0)
    kinds = {(event["state"], event["status"], event["said"]) for event in told["unanswered"]}
    assert kinds == {
        ("never_reached", 502, "connect() failed (111: Connection refused) while connecting to upstream"),
        ("no_answer", 504, "upstream timed out (110: Connection timed out) while reading response header from upstream"),
    }
    assert 10 < len(told["unanswered"]) <= 20 and len(told["lines"]) == 2 * len(told["unanswered"])
