# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What those who keep logs put around a line is none of it: the same cause is named with and without."""

from __future__ import annotations

import html
import json
import time
import zlib

from pathlib import Path
from typing import Any, Callable

import pytest
import yaml

from ansible_collections.fediops.mastodon.plugins.module_utils._line import LIMIT
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _diagnosis
from ansible_collections.fediops.mastodon.plugins.plugin_utils._log_file import Case
from ansible_collections.fediops.mastodon.plugins.plugin_utils._pasted import facts_of_case
from ansible_collections.fediops.mastodon.plugins.plugin_utils._wrapped import are_counted, unwrapped

CATALOGUE = _catalogue.load()
SIGNATURES = _catalogue.signatures(CATALOGUE)
CORPUS = Path(__file__).resolve().parents[3] / "corpus"
# A table whose header is told by the spaces before it, which nobody can tell from those behind a date.
UNTOLD = ("encoding_not_utf8-2",)


def doubled(text: str, sign: str) -> str:
    return sign + text.replace(sign, sign * 2) + sign


AROUND: dict[str, str | Callable[[str], str]] = {
    "a container runtime of Kubernetes": "2024-01-02T03:04:05.{number:09d}Z stdout F {line}",
    "logcli of Loki": '2024-01-02T03:04:05Z {{container="web"}} {line}',
    "a collector's JSON": lambda line: json.dumps({"message": line, "kubernetes": {"container_name": "x"}}),
    "a container manager's CSV": lambda line: "2024/01/02 03:04:05,stdout," + doubled(line, '"'),
    "docker build": "#12 {number}.345 {line}",
    "docker logs -t": "2024-01-02T03:04:05.{number:09d}Z {line}",
    "an ISO date": "2024-01-02T03:04:05.123Z {line}",
    "a date with a zone and nothing behind": "2024-01-02 03:04:05.123456+00:00{line}",
    "a date in brackets": "[2024-01-02 03:04:05] {line}",
    "a date with a month": "2024-Jan-02 03:04:05.123456 {line}",
    "Kibana": "Jan 2, 2024 @ 03:04:05.123\t{line}",
    "an American date": "01/02/2024 3:04:05 AM {line}",
    "a time": "03:04:05.123 {line}",
    "grep in files": "/var/log/some/where.log:{line}",
    "grep -n in files": "where.log.1:{number}:{line}",
    "a page in HTML": html.escape,
    "a mail": "> {line}",
    "a list": "  - {line}",
    "a list of YAML": lambda line: "    - " + doubled(line, "'"),
    "a list of JSON": lambda line: f"        {json.dumps(line)},",
    "a block of code": "    {line}",
    "Windows": "{line}\r",
}


def wrapped(kind: str, lines: str) -> str:
    wrap = AROUND[kind]
    several = enumerate(lines.splitlines(), 7)
    return "\n".join(wrap.format(number=number, line=line) if isinstance(wrap, str) else wrap(line) for number, line in several)


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(CORPUS.glob("*.yml")):
        found += yaml.safe_load(path.read_text())["cases"]
    return [case for case in found if case["id"] not in UNTOLD]


def chosen(number: int) -> list[dict[str, Any]]:
    """A thirteenth of them, the same when there are more."""
    return [case for case in cases() if zlib.crc32(case["id"].encode()) % 13 == number % 13]


def roots(case: dict[str, Any], lines: str) -> set[str]:
    known = Case("log", lines, str(case["where"]), str(case.get("version", "")), str(case.get("deployment", "")))
    host = _diagnosis.diagnose({"log": facts_of_case(known, SIGNATURES)}, CATALOGUE, now=time.time(), run={})["hosts"]["log"]
    return {finding["id"] for finding in host["findings"] if finding["rank"] == 1}


@pytest.mark.parametrize("kind", AROUND)
def test_what_is_around_the_lines_does_not_matter(kind: str) -> None:
    for case in chosen(list(AROUND).index(kind)):  # each keeper of logs with other cases
        lines = wrapped(kind, case["lines"])
        assert roots(case, lines) == roots(case, case["lines"]), (case["id"], lines)


@pytest.mark.parametrize("mark", ["{0}:{1}", "{0:6d}\t{1}", "{0}-{1}"])
def test_lines_that_are_counted(mark: str) -> None:
    for case in chosen(0):
        lines = case["lines"].splitlines()
        if len(lines) > 1:
            counted = "\n".join(mark.format(number, line) for number, line in enumerate(lines, 9))
            assert roots(case, counted) == roots(case, case["lines"]), (case["id"], counted)


MESSAGE = "2024-01-02T03:04:05.678Z pid=7 tid=abc WARN: PG::DiskFull: x"


@pytest.mark.parametrize(
    ("line", "identifier", "pid", "at"),
    [
        (f"<30>1 2024-01-02T03:04:05.5Z host mastodon-sidekiq 7 - - {MESSAGE}", "mastodon-sidekiq", 7, 1704164645.5),
        (f"1704164645.500000 host mastodon-sidekiq[7]: {MESSAGE}", "mastodon-sidekiq", 7, 1704164645.5),
        (f"[  345.500000] host mastodon-sidekiq[7]: {MESSAGE}", "mastodon-sidekiq", 7, None),
        (
            json.dumps({"MESSAGE": MESSAGE, "_PID": "7", "_SYSTEMD_UNIT": "mastodon-sidekiq.service", "SYSLOG_IDENTIFIER": "bundle",
                        "__REALTIME_TIMESTAMP": "1704164645500000"}), "mastodon-sidekiq", 7, 1704164645.5,
        ),
        (json.dumps({"MESSAGE": list(MESSAGE.encode()), "_PID": "7", "SYSLOG_IDENTIFIER": "sidekiq"}), "sidekiq", 7, None),
    ],
)  # fmt: skip
def test_who_wrote_it_is_kept(line: str, identifier: str, pid: int, at: float | None) -> None:
    found = unwrapped(line)
    assert (found.text, found.identifier, found.pid, found.time) == (MESSAGE, identifier, pid, at)


@pytest.mark.parametrize(
    "line",
    [
        '{"level":50,"time":1704164645678,"msg":"x","name":"streaming"}',
        '{"ts":"2024-01-02T03:04:05.678Z","pid":7,"tid":"abc","lvl":"WARN","msg":"x"}',
        '{"timestamp":"x","message":"y","error_severity":"ERROR"}',
        '{"level":"error","ts":"x","msg":"y","namespace":"mastodon","error":"z"}',
        "{", "[]", '{"MESSAGE":{}}', '{"MESSAGE":[300]}', '"', "- '", "``", "<30>1 ", "&#99999999999;", "{" * 9000,
    ],
)  # fmt: skip
def test_what_programs_write_themselves_and_halves_stay(line: str) -> None:
    assert unwrapped(line).text == line[: 4 * LIMIT]


def test_a_number_before_each_line_of_redis_is_its_own() -> None:
    lines = [f"{number}:M 02 Jan 2024 03:04:05.678 # Error trying to save the DB: Permission denied" for number in (1, 2)]
    assert roots({"where": "docker logs redis"}, "\n".join(lines)) == {"redis_misconf_disk"}


@pytest.mark.parametrize(
    "line",
    [
        '{"MESSAGE":"x","_PID":"\\u00b2","__REALTIME_TIMESTAMP":"\\u00b2"}',
        '{"MESSAGE":"x","__REALTIME_TIMESTAMP":"9999999999999999999"}',
        '{"MESSAGE":"\\ud800","SYSLOG_IDENTIFIER":"\\ud800\\n"}',
    ],
)
def test_what_json_can_hold_and_nobody_means(line: str) -> None:
    found = unwrapped(line)
    assert (found.pid, found.time) == (0, None) and (found.text + found.identifier).encode() and "\n" not in found.identifier


@pytest.mark.parametrize(
    "around", ["2024-01-02T03:04:05.5Z stdout F x", '2024-01-02T03:04:05.5Z {a="b"} x', "2024/01/02 03:04:05.5Z,stderr,x"]
)
def test_their_time_is_kept(around: str) -> None:
    assert (unwrapped(around).text, unwrapped(around).time) == ("x", 1704164645.5)


def test_a_single_line_that_grep_found_is_told_by_what_follows_its_number() -> None:
    assert are_counted([b"48213:Jan 02 03:04:05 s bundle[7]: x"]) and are_counted([b"7-[00000000-0000-4000-8000-000000000001] x"])
    assert not are_counted([b"812:M 02 Jan 2024 03:04:05.678 # x"]) and not are_counted([b"   66: from /srv/x.rb:1:in `y'"])


def test_the_year_is_no_number_of_a_line() -> None:
    assert unwrapped("postgresql.log.1-2024-01-02 03:04:05 UTC [7] FATAL:  x").text.startswith("2024-")
    assert not are_counted([b"2023-12-31T23:59:59.678Z pid=7 x", b"2024-01-01T00:00:00.678Z pid=7 x"])
