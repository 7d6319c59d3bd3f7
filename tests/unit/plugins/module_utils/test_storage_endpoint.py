# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether anybody takes connections where S3_ENDPOINT leads. Live: object_storage_gone."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.media import _endpoint


def test_it_answers_and_then_does_not() -> None:
    host = Host(time.monotonic() + 10)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:%d" % server.getsockname()[1]
        settings = {"S3_ENDPOINT": f"http://{address}"}
        assert _endpoint(host, settings) == {"endpoint": {"address": address, "reachable": True}}
    gone = _endpoint(host, settings)["endpoint"]
    assert (gone["reachable"], gone["error"]["kind"]) == (False, "refused")


def test_nobody_answers_and_little_time_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as waiting:
        for _client in range(4):  # the queue of the server is full: the next one gets no answer at all
            link = waiting.enter_context(socket.socket())
            link.setblocking(False)
            link.connect_ex(server.getsockname())
        settings = {"S3_ENDPOINT": "http://127.0.0.1:%d" % server.getsockname()[1]}
        told = _endpoint(Host(time.monotonic() + 5), settings)["endpoint"]
        assert (told["reachable"], told["error"]["kind"]) == (False, "timeout")
        assert "no time left" in _endpoint(Host(time.monotonic() + 1), settings)["_partly"]


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".example", "none.invalid"])
def test_a_name_that_leads_nowhere(name: str) -> None:
    told = _endpoint(Host(time.monotonic() + 10), {"S3_ENDPOINT": f"https://{name}"})["endpoint"]
    assert (told["reachable"], told["error"]["kind"]) == (False, "dns")


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"S3_ENDPOINT": ""}, {"S3_ENDPOINT": "minio:9000"}, {"S3_ENDPOINT": "http://[::1"}, {"S3_ENDPOINT": "http://x:99999"},
        {"S3_ENDPOINT": "http:///bucket"}, {"S3_ENDPOINT": "https://127.0.0.1:9", "https_proxy": "http://192.0.2.1:3128"},
    ],
)  # fmt: skip
def test_where_it_is_not_known_nothing_is_said(settings: dict[str, str]) -> None:
    assert _endpoint(Host(time.monotonic() + 10), settings) == {}
