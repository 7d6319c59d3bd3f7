# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request through the logs of one host: which lines are its own, and what nobody may smuggle in."""

from __future__ import annotations

import contextlib
import gzip
import json
import time

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils import _request_id
from ansible_collections.fediops.mastodon.plugins.module_utils._stored import Stored
from ansible_collections.fediops.mastodon.plugins.module_utils._trace import backwards, files, jobs, journal, observe, reader
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Record
from ansible_collections.fediops.mastodon.tests.unit.fixtures.trace_door import NOW, RID, SIDEKIQ, WEB, Chunks, Machine, texts, trace

OTHER = "11111111-2222-4333-8444-555555555555"
STAMP = "2025-11-21T14:00:00.100000 #100"
REQUEST = f"I, [{STAMP}]  INFO -- : [{RID}] method=POST path=/api/v1/statuses format=html "
REQUEST += "controller=Api::V1::StatusesController action=create status=500 allocations=9 duration=175.32 view=0.50 db=88.96"
FRAME = "app/services/post_status_service.rb:14:in `call'"
FAILED = [  # as Rails 7.2 writes it: one message of several lines
    REQUEST,
    f"E, [{STAMP}] ERROR -- : [{RID}]   ",
    f"[{RID}] ActiveRecord::StatementInvalid (PG::UndefinedColumn: ERROR:  column statuses.quote_id does not exist",
    'LINE 1: SELECT "statuses".quote_id FROM "statuses" WHERE "text" = \'hidden words\'',
    "               ^",
    "):",
    f"[{RID}]   ",
    f"[{RID}] {FRAME}",
]
POSTGRES = b"""\
2025-11-21 13:00:00.000 UTC [7] mastodon@mastodon_production ERROR:  column statuses.quote_id does not exist at character 8
2025-11-21 14:00:00.090 UTC [9] mastodon@mastodon_production ERROR:  column statuses.quote_id does not exist at character 8
2025-11-21 14:00:00.090 UTC [9] mastodon@mastodon_production STATEMENT:  SELECT "statuses".quote_id WHERE "text" = 'hidden words'
2025-11-21 14:00:00.095 UTC [8] mastodon@mastodon_production LOG:  checkpoint starting: time
"""


def web(*lines: str, at: float = NOW + 0.1, pid: int = 100) -> list[tuple[float, str, str, int]]:
    return [(at + number * 1e-5, WEB, text, pid) for number, text in enumerate(lines)]


@pytest.mark.parametrize("text", ["", RID, "a", "@_-", "x" * 255, "0" * 32])
def test_ids_that_rails_lets_through(text: str) -> None:
    assert _request_id.checked(text) == text


@pytest.mark.parametrize(
    "text",
    [" ", RID + "\n", "a b", "$(id)", "a;b", "`id`", "{{ 1 }}", "../x", "a.b", "x" * 256, "é", "a\0", "'", '"', "\x1b[31m", ".*", "a|b"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"request_id is what the header X-Request-Id of the answer says") as told:
        _request_id.checked(text)
    assert "\n" not in str(told.value) and "\x1b" not in str(told.value) and "\0" not in str(told.value)


def test_the_block_is_put_together_and_others_are_left_out() -> None:
    machine = Machine(
        [
            *web(*FAILED),
            *web(f"I, [{STAMP}]  INFO -- : [{OTHER}] method=GET path=/@a/{RID} status=200 duration=1.0", at=NOW + 0.2),
            *web("more of the other's message", at=NOW + 0.3),
            *web("[4242] - Worker 0 (PID: 4250) booted in 0.01s, phase: 0", at=NOW + 0.4),
            *web("of another process", at=NOW + 0.10003, pid=101),
        ]
    )
    told = trace(machine)
    assert [line["link"] for line in told["lines"]] == ["id", "id", "id", "block", "block", "block", "id", "id"]
    assert told["stacks"] == [
        {
            "class": "PG::UndefinedColumn", "message": "ERROR: column statuses.quote_id does not exist", "frames": [FRAME], "causes": [],
            "time_epoch": pytest.approx(NOW + 0.1, abs=0.001), "origin": "web", "name": WEB,
        }
    ]  # fmt: skip
    request = told["clues"]["requests"][0]
    assert (request["method"], request["path"], request["status"]) == ("POST", "/api/v1/statuses", 500)
    assert request["end"] - request["start"] == pytest.approx(0.17532)


def test_causes_of_rails_7_and_8() -> None:
    head = [REQUEST, f"E, [{STAMP}] ERROR -- : [{RID}]   "]
    rails_8 = [
        f"[{RID}] ActiveRecord::DatabaseConnectionError (There is an issue connecting with your hostname: db)",
        f'[{RID}] Caused by: PG::ConnectionBad (connection to server at "db" failed: Connection refused)',
        f"[{RID}] ",
        "Information for: ActiveRecord::DatabaseConnectionError (There is an issue connecting with your hostname: db):",
        "app/models/user.rb:1:in 'find'",
        'Information for cause: PG::ConnectionBad (connection to server at "db" failed: Connection refused):',
        "lib/pool.rb:2:in 'connect'",
    ]
    stack = trace(Machine(web(*head, *rails_8)))["stacks"][0]
    assert stack["class"] == "ActiveRecord::DatabaseConnectionError" and stack["frames"] == ["app/models/user.rb:1:in 'find'"]
    assert [(cause["class"], cause["frames"]) for cause in stack["causes"]] == [("PG::ConnectionBad", ["lib/pool.rb:2:in 'connect'"])]
    rails_7 = [f"[{RID}] A::Error (outer):", f"[{RID}]   ", "Causes:", f"[{RID}] B::Error (inner)", f"[{RID}] {FRAME}"]
    stack = trace(Machine(web(*head, *rails_7)))["stacks"][0]
    assert (stack["class"], stack["causes"][0]["class"], stack["frames"]) == ("A::Error", "B::Error", [FRAME])


def test_rails_6_without_times_and_prefixes() -> None:
    line = f"[{RID}] method=POST path=/api/v1/statuses status=500 error='Errno::ENOSPC: No space left on device' duration=41.20"
    told = trace(Machine(web(line)))
    assert told["stacks"][0]["class"] == "Errno::ENOSPC"


def test_postgresql_is_tied_by_words_and_time() -> None:
    path = "/var/log/postgresql/postgresql-17-main.log"
    told = trace(Machine(web(*FAILED), {path: POSTGRES}, {path: NOW + 0.1}))
    mine = [line for line in told["lines"] if line["origin"] == "database"]
    assert [line["link"] for line in mine] == ["error", "block"]
    assert mine[0]["time_epoch"] == pytest.approx(NOW + 0.09)
    assert "hidden words" not in str(told)


ACCESS = '192.0.2.1 - - [21/Nov/2025:14:00:00 +0000] "{} HTTP/2.0" {} 33 "{}" "curl"{}\n'


def test_the_proxy_by_id_and_by_likeness() -> None:
    post = "POST /api/v1/statuses?token=abc"
    log = ACCESS.format(post, 500, "-", "") + ACCESS.format(post, 200, "-", "") + ACCESS.format("GET /x", 500, f"https://a/{RID}", "")
    added = ' request_time=0.1 upstream="127.0.0.1:3000" upstream_status="500" upstream_time="0.1" request_id="{}" host="mastodon.test"'
    with_ids = ACCESS.format("GET /" + RID, 404, "-", added.format(OTHER)) + ACCESS.format(post, 500, "-", added.format(RID))
    error = (
        "2025/11/21 14:00:00 [error] 1#1: *7 upstream prematurely closed connection, client: 192.0.2.1, server: mastodon.test, "
        'request: "POST /api/v1/statuses?token=abc HTTP/2.0", upstream: "http://127.0.0.1:3000/api/v1/statuses", host: "mastodon.test"\n'
    )
    paths = {"/var/log/nginx/access.log": log, "/var/log/nginx/mastodon_requests.log": with_ids, "/var/log/nginx/error.log": error}
    config = (
        "events {}\nhttp { access_log /var/log/nginx/access.log; access_log /var/log/nginx/mastodon_requests.log; "
        "server { server_name mastodon.test; location / { proxy_pass http://127.0.0.1:3000; } } }"
    )
    contents = {path: text.encode() for path, text in paths.items()}
    told = trace(Machine(web(*FAILED), {**contents, "/etc/nginx/nginx.conf": config.encode()}))
    mine = [(line["name"].rpartition("/")[2], line["link"], line.get("status")) for line in told["lines"] if line["origin"] == "proxy"]
    assert sorted(mine, key=str) == [("access.log", "request", 500), ("error.log", "request", None), ("mastodon_requests.log", "id", 500)]
    assert "abc" not in str(told["lines"])


def test_rotated_and_compressed_files_are_read() -> None:
    path = "/var/log/nginx/error.log"
    added = ' request_time=0.1 upstream_status="500" request_id="' + RID + '"'
    old = gzip.compress(ACCESS.format("GET /a", 500, "-", added).encode())
    found = trace(Machine([], {path: b"", path + ".2.gz": old}, {path + ".2.gz": NOW + 5}))
    assert [line["link"] for line in found["lines"]] == ["id"]
    half = trace(Machine([], {path: b"", path + ".2.gz": old[:-9]}, {path + ".2.gz": NOW + 5}))
    assert any(source.get("reason") == "the compressed file is cut off" for source in half["sources"])
    ancient = trace(Machine([], {path: b"", path + ".2.gz": old}, {path + ".2.gz": NOW - 90000}))
    assert ancient["lines"] == [] and not any(source["name"].endswith(".gz") for source in ancient["sources"])


UUID = "0aa4bd7c-3c71-4b5e-9c4a-6d2f3b0a1c2d"
JID, JID_2 = "0123456789abcdef01234567", "89abcdef0123456789abcdef"
MAIL = "ActionMailer::MailDeliveryJob"


def kiq(at: float, jid: str, word: str, name: str = MAIL) -> tuple[float, str, str, int]:
    elapsed = "" if word == "start" else " elapsed=0.1"
    return (at, SIDEKIQ, f"2025-11-21T14:00:00.000Z pid=200 tid=abc class={name} jid={jid}{elapsed} INFO: {word}", 200)


def performing(at: float) -> tuple[float, str, str, int]:
    text = f"I, [2025-11-21T14:00:00.000000 #200]  INFO -- : [ActiveJob] [{MAIL}] [{UUID}] "
    text += f"Performing {MAIL} (Job ID: {UUID}) from Sidekiq(mailers)"
    return (at, SIDEKIQ, text, 200)


ENQUEUED = f"I, [{STAMP}]  INFO -- : [{RID}] [ActiveJob] Enqueued {MAIL} (Job ID: {UUID}) to Sidekiq(mailers) with arguments: 1"


def test_a_job_of_active_job_is_tied_hours_later() -> None:
    later = NOW + 7200.5
    machine = Machine(
        [
            *web(ENQUEUED, REQUEST),
            kiq(later, JID, "start"),
            performing(later + 0.001),
            kiq(later + 0.1, JID, "done"),
            kiq(later + 0.2, JID_2, "start"),
            kiq(later + 0.3, JID_2, "done"),
            kiq(NOW + 0.2, JID_2, "start", "DistributionWorker"),
        ]
    )
    told = trace(machine)
    assert told["clues"]["jobs"] == [UUID]
    assert [text.rpartition(" ")[2] for text in texts(told, "job")][::2] == ["start", "done"]
    assert JID_2 not in str(told["lines"])


def test_two_jobs_at_once_are_not_told_apart() -> None:
    records = [
        Record(at, "sidekiq", unit, pid, text)
        for at, unit, text, pid in (kiq(NOW, JID, "start"), kiq(NOW, JID_2, "start"), performing(NOW + 0.1))
    ]
    assert jobs.with_jids(records, [UUID]) == {UUID}


def test_the_report_of_a_failed_job_names_both_ids() -> None:
    prefix = "2025-11-21T14:00:01.000Z pid=200 tid=abc "
    quoted = f'{prefix}WARN: {{"context":"Job raised exception","job":{{"wrapped":"{MAIL}","jid":"{JID}","args":[{{"job_id":"{UUID}"}}]}}}}'
    machine = Machine(
        [
            *web(ENQUEUED, REQUEST),
            (NOW + 1.5, SIDEKIQ, quoted, 200),
            (NOW + 1.501, SIDEKIQ, f"{prefix}WARN: Net::OpenTimeout: execution expired", 200),
            (NOW + 1.502, SIDEKIQ, f"{prefix}WARN: app/lib/mail.rb:3:in 'send'", 200),
        ]
    )
    stack = trace(machine)["stacks"][0]
    assert (stack["class"], stack["job"], stack["frames"]) == ("Net::OpenTimeout", JID, ["app/lib/mail.rb:3:in 'send'"])


def test_truncation_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "MOST_LINES", 10)
    told = trace(Machine(web(*[f"I, [{STAMP}]  INFO -- : [{RID}] line {number}" for number in range(25)])))
    assert (len(told["lines"]), told["left_out"]) == (10, 15)
    monkeypatch.setattr(observe, "RESULT_BYTES", 20000)
    wide = web(*[f"I, [{STAMP}]  INFO -- : [{RID}] " + "é" * 900 for _number in range(9)])
    told = trace(Machine(wide))
    assert 1 <= len(told["lines"]) < 9 and len(told["lines"]) + told["left_out"] == 9 and len(json.dumps(told["lines"])) <= 20000


def test_only_the_newest_of_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files, journal):
        monkeypatch.setattr(module, "MOST_HITS", 30)
    every = [web(f"I, [{STAMP}]  INFO -- : [{RID}] line {number}", at=NOW + number * 10 + 0.5)[0] for number in range(60)]
    told = trace(Machine(every))
    assert texts(told)[-1].endswith("line 59") and [source["newest_only"] for source in told["sources"]] == [True]
    log = "".join(ACCESS.format("GET /a", 500, "-", f' upstream_status="500" request_id="{RID}"') for _number in range(40))
    told = trace(Machine([], {"/var/log/nginx/error.log": log.encode()}))
    assert len(told["lines"]) == 40 and [source["newest_only"] for source in told["sources"] if source["found"]] == [True]


def test_of_a_large_file_only_the_time_in_question_is_read() -> None:
    def line(number: int, request_id: str) -> bytes:
        at = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(NOW - 86400 + number))
        return (
            ACCESS.format("GET /x", 200, "-", f' upstream_status="200" request_id="{request_id}"')
            .replace("21/Nov/2025:14:00:00 +0000", at)
            .encode()
        )

    path = "/var/log/nginx/error.log"
    data = b"".join(line(number, RID if number == 60000 else OTHER) for number in range(86400))
    read = []

    class Watched(Machine):
        @contextlib.contextmanager
        def stored(self, path: str, keep_bytes: int, deadline: float) -> Iterator[Stored]:
            def read_at(offset: int, length: int) -> bytes:
                read.append(length)
                return data[offset : offset + length]

            yield Stored(read_at, len(data), NOW)

    told = trace(Watched([], {path: data}))
    assert [(line["link"], line["time_epoch"]) for line in told["lines"]] == [("id", NOW - 26400)]
    read.clear()
    clues = {"spans": [[NOW - 26402, NOW - 26398]], "requests": [], "errors": [], "jobs": []}
    assert trace(Watched([], {path: data}), clues=clues)["lines"] == told["lines"]
    assert sum(read) < len(data) / 4


HOSTILE = [
    b"\xff\xfe\x00" + RID.encode() + b"\x1b]0;title\x07\x1b[31m\xe2\x80\xae",
    f"[{RID}] <script>alert(1)</script> {{{{ 1 }}}}".encode(),
    f"[{RID}] password=hunter2 token: abcdefabcdef0123456789 https://a/?secret=1".encode(),
    f"[{RID}] ".encode() + b"A" * 100000,
    b"\n\n__CURSOR=forged\n__REALTIME_TIMESTAMP=1\nMESSAGE=" + RID.encode(),
]


def test_hostile_lines() -> None:
    machine = Machine([(NOW + number, WEB, text, 100) for number, text in enumerate(HOSTILE)])
    for chunk in (7, 4096, 1 << 20):
        machine.chunk = chunk
        told = trace(machine)
        shown = str(told)
        assert len(told["lines"]) >= 4, chunk
        assert "\x1b" not in shown and "\u202e" not in shown and "hunter2" not in shown and "secret=1" not in shown
        assert all(len(line["text"]) <= observe.TEXT_LIMIT for line in told["lines"])


def test_an_id_that_looks_like_a_token_is_shown_and_hides_nothing() -> None:
    rid = "4bf92f3577b34da6a3ce929d0e0e4736"
    secret = f"[{rid}] {rid}token=hunter2hunter2 x {rid}-token=hunter2 {rid} token=hunter2"
    told = trace(Machine(web(f"[{rid}] method=GET path=/ status=200 duration=1.0", secret)), rid)
    assert texts(told)[0].startswith(f"[{rid}] method=GET") and "hunter2" not in str(told)


def test_a_short_id_is_found_in_tags_only() -> None:
    told = trace(Machine(web("[1] method=GET path=/1 status=200 duration=1.0", "I, [x #1]  INFO -- : 1 file", "1 file", at=NOW + 0.5)), "1")
    assert [line["link"] for line in told["lines"]] == ["id"]


def test_lines_of_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    def stamped(at: float, text: str) -> bytes:
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}{f'{at % 1:.9f}'[1:]}Z {text}\n".encode()

    class Engine:
        def logs(self, name: str, since: float, lines: int, tty: bool, deadline: float, most: int, until: float = 0.0) -> Any:
            said = {
                "web-id": [(at, text) for at, _unit, text, _pid in web(*FAILED)],
                "db-id": [(NOW + 0.09, POSTGRES.decode().split("\n")[1])],
            }
            return Chunks(b"".join(stamped(*one) for one in said[name] if since <= one[0] <= (until or 1e12)), size=50)

    monkeypatch.setattr(reader._engine, "at", lambda host, socket: Engine())
    units = [
        {"name": f"x-{role}-1", "role": role, "_container": name, "_tty": False}
        for role, name in (("web", "web-id"), ("database", "db-id"))
    ]
    options = {"request_id": RID, "since_epoch": NOW - 86400, "deadline": time.monotonic() + 60, "clues": {}}
    told = observe.observe(Machine(), {"units": units, "_engine": "/run/docker.sock"}, options)
    assert [line["link"] for line in told["lines"]] == ["error", "id", "id", "id", "block", "block", "block", "id", "id"]
    assert {source["kind"] for source in told["sources"]} == {"container"}
    assert told["stacks"][0]["class"] == "PG::UndefinedColumn"


def test_journalctl_looks_itself_where_it_can() -> None:
    machine = Machine([*web(*FAILED), *web(f"I, [{STAMP}]  INFO -- : [{OTHER}] other", at=NOW + 0.2)])
    plain = trace(machine)
    machine.greps = True
    assert trace(machine)["lines"] == plain["lines"]
    short = Machine(web("[1] method=GET path=/1 status=200 duration=1.0", at=NOW + 0.5))
    short.greps = True
    assert len(trace(short, "1")["lines"]) == 1


def test_only_as_far_back_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backwards, "clock", SimpleNamespace(time=lambda: NOW + 600))
    asked = []

    class Watched(Machine):
        def journal(self, units: Any, since: float, *rest: Any, **more: Any) -> Any:
            asked.append(NOW + 600 - since)
            return super().journal(units, since, *rest, **more)

    trace(Watched(web(*FAILED, at=NOW - 0.1)))
    assert max(asked) == 7200  # the request is too near to the start of the first 15 minutes
    asked.clear()
    assert trace(Watched([*web(*FAILED, at=NOW - 80000)]))["lines"] and max(asked) == 87000


def test_an_id_that_is_sent_all_day_long() -> None:
    every = [web(f"[{RID}] method=GET path=/{number} status=200 duration=1.0", at=NOW - number * 60 + 0.5)[0] for number in range(100)]
    told = trace(Machine(every))
    assert len(told["lines"]) == observe.MOST_SPANS and told["left_out"] == 80
    assert told["lines"][-1]["time_epoch"] == NOW + 0.5
    dense = [web(f"[{RID}] method=GET path=/{number} status=200 duration=1.0", at=NOW - number * 3 + 0.5)[0] for number in range(3000)]
    told = trace(Machine(dense))
    assert len(told["lines"]) + told["left_out"] == 3000 and 1100 < len(told["lines"]) < 1300


def test_a_line_among_many() -> None:
    noise = [
        (NOW - 5000 + number / 10, WEB, f"I, [{STAMP}]  INFO -- : [{OTHER}] method=GET path=/ status=200 duration=1.0", 100)
        for number in range(30000)
    ]
    machine = Machine([*noise, *web(*FAILED, at=NOW - 2000)])
    machine.chunk = 65536
    assert len(texts(trace(machine), "id")) == 5


ERROR = "2025/11/21 14:00:0{} [error] 1#1: *7 {}, client: 192.0.2.1, server: mastodon.test, "
ERROR += 'request: "GET /{} HTTP/2.0", upstream: "http://127.0.0.1:3000/", host: "mastodon.test"\n'


def unanswered(error: str, access: str = "") -> dict[str, Any]:
    logs = {"/var/log/nginx/error.log": error.encode(), "/var/log/nginx/access.log": access.encode()}
    config = b"http { access_log /var/log/nginx/access.log; "
    config += b"server { server_name mastodon.test; location / { proxy_pass http://127.0.0.1:3000; } } }"
    return trace(Machine(web(*FAILED), {**logs, "/etc/nginx/nginx.conf": config}), "")


def test_answers_of_the_proxy_without_an_id() -> None:
    error = ERROR.format(0, "connect() failed (111: Connection refused) while connecting to upstream", "a")
    error += ERROR.format(5, "upstream timed out (110: Connection timed out) while reading response header from upstream", "b")
    error += ERROR.format(6, "access forbidden by rule", "c")
    told = unanswered(error, ACCESS.format("GET /a?x=1", 502, "-", "") + ACCESS.format("POST /api/v1/statuses", 500, "-", ""))
    assert [(event["path"], event["state"], event.get("status")) for event in told["unanswered"]] == [
        ("/b", "no_answer", None), ("/a", "never_reached", 502)
    ]  # fmt: skip
    assert {line["link"] for line in told["lines"]} == {"proxy"} and len(told["lines"]) == 3


def test_nothing_is_made_by_the_proxy() -> None:
    told = unanswered("", ACCESS.format("GET /a", 500, "-", ""))
    assert told["unanswered"] == [] and told["lines"] == []
