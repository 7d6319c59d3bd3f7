# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traces of several hosts become one: order, clocks, clues, what became of the request."""

from __future__ import annotations

import json
import re

from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import trace as report
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.trace_texts import TEXTS
from ansible_collections.fediops.mastodon.plugins.plugin_utils._trace import clocks
from ansible_collections.fediops.mastodon.plugins.plugin_utils._trace.merge import incomplete, merge

NOW = 1763733600.0
RID = "6bc0960d-5001-43c3-a7f4-31376ce7a2a7"
CATALOGUE = _catalogue.load([])
REQUEST = {"method": "POST", "path": "/p", "status": 500, "start": NOW, "end": NOW + 0.5, "controller": "C", "action": "a", "origin": "web"}


def line(at: float, text: str, origin: str = "web", link: str = "id", **more: Any) -> dict[str, Any]:
    return {"time_epoch": at, "origin": origin, "name": f"{origin}.log", "link": link, "text": text, **more}


def host(*lines: dict[str, Any], offset: tuple[float, float] = (-0.1, 0.1), **more: Any) -> dict[str, Any]:
    clues = {"spans": [[NOW - 2, NOW + 2]] if lines else [], "requests": [], "errors": [], "jobs": []}
    return {
        "schema": 1, "request_id": RID, "state": "ok", "roles": [], "since_epoch": NOW - 86400, "lines": list(lines), "left_out": 0,
        "stacks": [], "sources": [], "logs": {}, "install": {}, "clues": {**clues, **more.pop("clues", {})},
        "clock": {"offset_seconds": list(offset)}, **more,
    }  # fmt: skip


def merged(traces: dict[str, Any], missing: dict[str, str] | None = None, request_id: str = RID) -> dict[str, Any]:
    return merge(request_id, traces, missing or {}, CATALOGUE, NOW, {"id": "x", "started": "", "seconds": 0.0, "collection": "1"})


def shown(trace: dict[str, Any], language: str = "en") -> str:
    return report.render(trace, incomplete(trace), language=language, width=100, colour=False, where="/r/trace.json")


def test_lines_stand_in_order_of_time_with_their_host() -> None:
    told = merged(
        {
            "web1": host(line(NOW + 0.5, "answered"), line(NOW + 0.2, "began"), clues={"requests": [REQUEST]}),
            "proxy1": host(line(NOW, "logged behind what it answered", "proxy", "request", status=500)),
            "db1": host(line(NOW + 0.3, "ERROR:  x", "database", "error", of=3)),
        }
    )
    assert [(one["host"], one["text"]) for one in told["lines"]] == [
        ("web1", "began"), ("db1", "ERROR: x"), ("web1", "answered"), ("proxy1", "logged behind what it answered"),
    ]  # fmt: skip
    text = shown(told)
    assert "14:00:00.300" in text and "(same error, 1 of 3) ERROR: x" in text and "14:00:00      proxy1" in text
    assert told["state"] == "answered" and "answered 500: POST /p (C#a, 500 ms), on web1" in " ".join(text.split())


def test_a_proxy_that_did_not_wait() -> None:
    request = {**REQUEST, "status": 200}
    gave_up = line(NOW, "x", "proxy", "request", status=504)
    told = merged({"a": host(line(NOW + 0.5, "answered"), gave_up, clues={"requests": [request]})})
    assert "the visitor got 504" in " ".join(shown(told).split())


def test_clocks_that_differ_are_told_and_nothing_is_reordered() -> None:
    traces = {"a": host(line(NOW + 10, "first in truth"), offset=(9.9, 10.1)), "b": host(line(NOW + 1, "second in truth"))}
    told = merged(traces)
    assert [one["text"] for one in told["lines"]] == ["second in truth", "first in truth"]
    assert told["clocks"] == [{"ahead": "a", "behind": "b", "seconds": 9.8}]
    assert "The clock of a is at least 9.8 s ahead of that of b" in " ".join(shown(told).split())
    traces["a"]["clock"]["offset_seconds"] = [0.05, 10.0]  # nobody knows
    assert merged(traces)["clocks"] == []


def test_offsets() -> None:
    assert clocks.offset(first_epoch=110.5, last_epoch=111.5, asked=100.0, answered=102.0) == (9.5, 10.5)
    assert clocks.narrowed((9.5, 10.5), (10.0, 12.0)) == (10.0, 10.5)
    assert clocks.narrowed((1.0, 2.0), (5.0, 6.0)) == (5.0, 6.0)
    assert clocks.ahead((9.5, 10.5), (-1.0, 1.0)) == 8.5 and clocks.ahead((-1.0, 1.0), (9.5, 10.5)) == -8.5
    assert clocks.ahead((0.0, 1.0), (0.5, 2.0)) == 0.0 and clocks.ahead(None, (1.0, 2.0)) == 0.0


def test_clues_are_put_into_the_time_of_the_other_host() -> None:
    request = {**REQUEST, "start": NOW, "end": NOW + 1}
    web = host(line(NOW, "x"), clues={"requests": [request], "errors": ["E"], "jobs": ["j"]}, offset=(99.5, 100.5))
    assert clocks.clues_for("web1", {"web1": web, "db1": host()}) == {}
    found = clocks.clues_for("db1", {"web1": web, "db1": host()})
    assert found["requests"][0]["end"] == pytest.approx(NOW + 1 - 100) and found["slack_seconds"] == pytest.approx(2.6)
    assert found["spans"] == [[pytest.approx(NOW - 104.6), pytest.approx(NOW - 95.4)]]
    assert (found["errors"], found["jobs"]) == (["E"], ["j"])


PROXIED = {"origin": "proxy", "link": "id"}


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([], "not_found"),
        ([line(NOW, "x")], "reached"),
        ([line(NOW, "x", "streaming")], "streaming"),
        ([line(NOW, "x", **PROXIED, status=500, upstream_status="500")], "answered_elsewhere"),
        ([line(NOW, "x", **PROXIED, status=500, upstream_status="502, 500")], "answered_elsewhere"),
        ([line(NOW, "x", **PROXIED, status=502, upstream_status="502")], "never_reached"),
        ([line(NOW, "x", **PROXIED, status=504)], "never_reached"),
        ([line(NOW, "x", **PROXIED, status=413, upstream_status="-")], "never_reached"),
        ([line(NOW, "x", **PROXIED, status=200)], "proxy_only"),
        ([line(NOW, "x", "proxy", "request", status=500)], "not_found"),
    ],
)
def test_what_became_of_it(lines: list[dict[str, Any]], state: str) -> None:
    told = merged({"a": host(*lines)})
    assert told["state"] == state
    for language in ("en", "fr"):
        assert " ".join(report.text(state, language, since=report.stamp(NOW - 86400, day=True)).split()) in " ".join(
            shown(told, language).split()
        )


def test_without_an_id() -> None:
    event = {"time_epoch": NOW, "state": "never_reached", "path": "/a", "method": "GET", "status": 502, "said": "connect() failed"}
    told = merged({"a": host(unanswered=[event])}, request_id="")
    assert told["state"] == "made_by_proxy"
    assert "502 GET /a never reached the application: connect() failed" in " ".join(shown(told).split())
    assert merged({"a": host(unanswered=[])}, request_id="")["state"] == "nothing"


def test_hosts_that_were_not_read_are_named() -> None:
    cut = {"origin": "system", "name": "journal", "kind": "journal", "found": 0, "truncated": True, "reason": "the time was up"}
    traces = {"a": host(sources=[cut]), "c": {**host(), "state": "denied", "reason": "only root may"}}
    told = merged(traces, {"b": "unreachable: no route"})
    assert incomplete(told) == {"a": "journal: the time was up", "b": "unreachable: no route", "c": "only root may"}
    assert "b: not wholly read: unreachable: no route" in shown(told)
    assert merged({}, {"b": "unreachable"})["state"] == "unknown"
    told = merged({"a": host(sources=[{**cut, "oldest_epoch": NOW - 3600}])})
    assert incomplete(told)["a"].startswith("journal: the time was up, read back to 2025-11-21 13:00 UTC only; -e mastodon_trace_timeout=")


def test_the_cause_is_named_over_all_hosts() -> None:
    name, issue = next((name, one) for name, one in CATALOGUE.items() if name == "pending_migrations")
    signature = next(key for key, value in issue.signatures.items() if not value.get("weak"))
    seen = {f"{name}.{signature}": {"count": 1, "first_epoch": NOW, "last_epoch": NOW, "samples": []}}
    told = merged({"a": host(line(NOW, "x"), logs={"signatures": seen, "exceptions": [], "remotes": {}}), "b": host()})
    assert [finding["id"] for finding in told["findings"]] == ["pending_migrations"]
    assert "pending_migrations" in shown(told)


def test_what_a_hostile_host_says_is_harmless() -> None:
    bad = "\x1b]0;t\x07\x1b[31m{{ 1 }}\u202e<b>\n"
    stack = {"class": bad, "message": bad, "frames": [bad] * 100, "causes": [], "time_epoch": NOW, "origin": "web", "name": bad}
    clues = {"requests": [{**REQUEST, "path": bad}], "jobs": [bad]}
    told = merged({"a": host(line(NOW, bad * 500, severity=bad), stacks=[stack], clues=clues)})
    for text in (shown(told), json.dumps(told, ensure_ascii=False)):
        assert "\x1b" not in text and "\u202e" not in text
    assert len(told["lines"][0]["text"]) <= 1200


def test_every_sentence_is_there_twice() -> None:
    for english, french in TEXTS.values():
        assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", french))
