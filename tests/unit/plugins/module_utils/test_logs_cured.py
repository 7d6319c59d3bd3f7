# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines older than the cure of an issue are not counted for it, and for nothing else."""

from __future__ import annotations

import itertools
import json
import re

from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._runs import PLACES
from ansible_collections.fediops.mastodon.tests.unit.fixtures.log_door import CONFIG, FIXTURES, NGINX, SIGNATURES, Door, observe

RUN = "2026-11-21T09-12-44Z-3f2a"
NUMBERS = ("count", "total", "failed", "server_errors")


def journal(cured: dict[str, float]) -> dict[str, bytes]:
    """run.json of a run for each time of a cure."""
    files = {}
    for number, (issue, epoch) in enumerate(cured.items()):
        name = f"{RUN}{number:02d}"
        step = {"fix": "restart_services", "issues": [issue], "covers": [issue], "state": "kept", "reason": ""}
        files[f"{PLACES[0]}/runs/{name}/run.json"] = json.dumps(
            {"id": name, "schema": 1, "state": "settled", "started_epoch": epoch - 9, "finished_epoch": epoch, "steps": [step]}
        ).encode()
    return files


def read(name: str, signatures: dict[str, Any] | None = None, **cured: float) -> dict[str, Any]:
    return observe(Door((FIXTURES / name).read_bytes(), journal(cured)), signatures=signatures)


def times_of(name: str) -> list[float]:
    return [int(each) / 1e6 for each in re.findall(rb"(?m)^__REALTIME_TIMESTAMP=(\d+)$", (FIXTURES / name).read_bytes())]


TABLE = "debian-12-table-missing.export"
TWO = {f"{issue}.relation": SIGNATURES["a.relation"] for issue in ("a", "b")}


def test_older_lines_are_not_counted_for_the_issue_that_was_cured() -> None:
    before = read(TABLE, TWO)["signatures"]
    assert before["a.relation"]["count"] == before["b.relation"]["count"] == 2
    last = before["a.relation"]["last_epoch"]
    for epoch, count in ((before["a.relation"]["first_epoch"], 2), (last, 1), (last + 0.001, 0)):
        found = read(TABLE, TWO, a=epoch)
        assert found["signatures"].get("a.relation", {}).get("count", 0) == count
        assert found["signatures"]["b.relation"] == before["b.relation"]
        assert found["requests"]["server_errors"] == 2
        assert len(found["exceptions"]) == 1
    one = read(TABLE, TWO, a=last)["signatures"]["a.relation"]
    assert one["first_epoch"] == one["last_epoch"] == one["samples"][0]["time_epoch"] == last


@pytest.mark.parametrize("name", ["debian-12-healthy.export", TABLE, "debian-13-redis-stopped.export"])
def test_requests_and_posts_are_split_by_the_cure_exactly(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    answers = [
        (int(stamp) / 1e6, status, b"method=POST path=/api/v1/statuses " in line)
        for stamp, line, status in re.findall(
            rb"(?ms)^__REALTIME_TIMESTAMP=(\d+)$(?:(?!\n\n).)*?^(MESSAGE=[^\n]*method=[^\n]* status=(\d+) [^\n]*)$", data
        )
    ]
    assert len(answers) == read(name)["requests"]["total"] > 1
    for epoch in {time for time, _status, _post in answers}:
        found = read(name, web_errors_5xx=epoch)
        left = [each for each in answers if each[0] >= epoch]
        assert found["requests"]["total"] == len(left)
        assert found["requests"]["server_errors"] == sum(status >= b"500" for _time, status, _post in left)
        assert found["posts"]["total"] == sum(post for _time, _status, post in left)
        assert found["posts"].get("last_ok_epoch", epoch) >= epoch
        assert found["jobs"] == read(name)["jobs"]


def test_exceptions_of_before_are_no_evidence_of_what_fails_now() -> None:
    last = read(TABLE)["exceptions"][0]["last_epoch"]
    assert [each["count"] for each in read(TABLE, web_errors_5xx=last)["exceptions"]] == [1]
    found = read(TABLE, web_errors_5xx=last + 1)
    assert found["exceptions"] == []
    assert found["signatures"]["a.relation"]["count"] == 2


def test_kills_of_before() -> None:
    name = "debian-13-memory-limit-oom.export"
    kills = read(name)["_oom_kills"]
    assert len(kills) > 1
    for number, kill in enumerate(sorted(kills, key=lambda each: each["time_epoch"])):
        assert len(read(name, oom_kill=kill["time_epoch"])["_oom_kills"]) == len(kills) - number
    assert read(name, oom_kill=max(times_of(name)) + 1)["_oom_kills"] == []


def test_the_access_log_of_the_proxy() -> None:
    line = b'192.0.2.1 - - [02/Jan/2026:03:04:%02d +0000] "GET / HTTP/1.1" 502 1 "-" "x"\n'
    epoch = 1767323040.0  # 03:04:00
    files = {CONFIG: NGINX % (b"", b""), "/var/log/nginx/access.log": b"".join(line % second for second in range(10))}
    for cured, total in ((None, 10), (epoch + 4, 6), (epoch + 4.5, 5), (epoch + 60, 0)):
        door = Door(files={**files, **(journal({"web_errors_5xx": cured}) if cured else {})})
        assert observe(door, domain="mastodon.test")["proxy_requests"]["total"] == total


def test_a_cure_adds_nothing() -> None:
    """Whatever is cured whenever: no number is higher than without."""

    def numbers(value: Any, path: str = "") -> dict[str, int]:
        if not isinstance(value, dict):
            return {path: value} if path.endswith(NUMBERS) else {}
        return {name: each for key, part in value.items() for name, each in numbers(part, f"{path}/{key}").items()}

    for path in sorted(FIXTURES.glob("debian-1?-[a-e]*.export")):
        whole, times = numbers(read(path.name)), sorted(times_of(path.name))
        for issue, epoch in itertools.product(("a", "web_errors_5xx"), (times[0], times[len(times) // 2], times[-1] + 1)):
            found = numbers(read(path.name, **{issue: epoch}))
            assert all(count <= whole[name] for name, count in found.items())
            assert epoch != times[0] or found == whole
