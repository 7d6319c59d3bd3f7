# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a log line says, for every product and version whose lines we know."""

from __future__ import annotations

import calendar
import time

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._lines import parse, strip_prefix

RID = "0a61dd31-49d7-4650-81a5-1f8ba24fd193"
REQUEST_41 = (
    f"[{RID}] method=POST path=/api/v1/statuses format=html controller=Api::V1::StatusesController action=create status=500 "
    "error='Errno::ENOSPC: No space left on device' duration=41.20 view=0.00 db=3.10"
)
REQUEST_45 = (
    f"I, [2026-01-02T03:04:05.678901 #1234]  INFO -- : [{RID}] method=POST path=/api/v1/statuses format=html "
    "controller=Api::V1::StatusesController action=create status=500 allocations=5120 duration=41.20 view=0.00 db=3.10"
)


def utc(*parts: int) -> float:
    return float(calendar.timegm((*parts, 0, 0, 0)))


@pytest.mark.parametrize("text", [REQUEST_41, REQUEST_45])
def test_request_lines(text: str) -> None:
    line = parse("web", text)
    assert (line.kind, line.id) == ("request", RID)
    assert line.fields["status"] == 500
    assert line.fields["method"] == "POST"
    assert line.fields["path"] == "/api/v1/statuses"
    assert line.fields["controller"] == "Api::V1::StatusesController"
    assert line.fields["action"] == "create"
    assert line.fields["duration"] == "41.20"


def test_request_line_of_41_names_its_error() -> None:
    line = parse("web", REQUEST_41)
    assert (line.fields["class"], line.fields["message"]) == ("Errno::ENOSPC", "No space left on device")
    assert "No space left on device" in line.text


def test_wrapped_error_is_told_by_its_cause() -> None:
    text = REQUEST_41.replace("Errno::ENOSPC: No space left on device", "ActiveRecord::StatementInvalid: PG::DiskFull: ERROR:  could not")
    assert parse("web", text).fields["class"] == "PG::DiskFull"


def test_a_stranger_cannot_write_a_fault_into_the_log() -> None:
    request = REQUEST_45.replace("/api/v1/statuses", "/PG::UndefinedColumn/status=500")
    assert "PG::UndefinedColumn" not in parse("web", request).text
    nginx = (
        '2026/01/02 03:04:05 [error] 9#9: *1 open() "/x/public/a" failed (2: No such file or directory), client: 192.0.2.1, server: m, '
        'request: "GET /upstream timed out (110 HTTP/1.1", host: "m.example", referrer: "https://x/connect() failed"'
    )
    line = parse("proxy", nginx)
    assert "upstream timed out" not in line.text
    assert "connect() failed" not in line.text
    job = (
        '2026-01-02T03:04:05.678Z pid=77 tid=abc WARN: {"context":"Job raised exception","job":{"class":"X","args":["PG::DiskFull"],'
        '"jid":"0123456789abcdef01234567"}}'
    )
    assert "PG::DiskFull" not in parse("sidekiq", job).text
    kiq8 = (
        'INFO  2026-01-02T03:04:05.678Z pid=77 tid=abc context=Job raised exception job={"retry"=>16, "args"=>["PG::DiskFull }: x"], '
        '"class"=>"PushWorker", "jid"=>"0123456789abcdef01234567"}: no luck (Mastodon::RaceConditionError)'
    )
    assert parse("sidekiq", kiq8).text == "Mastodon::RaceConditionError: no luck"
    statement = "2026-01-02 03:04:05.678 UTC [12] mastodon@mastodon STATEMENT:  INSERT INTO statuses VALUES ('No space left on device')"
    assert parse("database", statement).text == ""


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (
            f"[{RID}] Errno::ENOSPC (No space left on device @ rb_sysopen - /x):",
            "Errno::ENOSPC",
            "No space left on device @ rb_sysopen - /x",
        ),
        (
            f"[{RID}] ActiveRecord::StatementInvalid (PG::UndefinedColumn: ERROR:  column statuses.quote_id does not exist",
            "PG::UndefinedColumn",
            "ERROR:  column statuses.quote_id does not exist",
        ),
        (f"[{RID}] OpenSSL::Cipher::CipherError ():", "OpenSSL::Cipher::CipherError", ""),
        (
            "[7] ! Unable to load application: ActiveRecord::ConnectionNotEstablished: connection failed",
            "ActiveRecord::ConnectionNotEstablished",
            "connection failed",
        ),
        (
            "/x/live/config/environments/production.rb:8:in 'fetch': key not found: \"OTP_SECRET\" (KeyError)",
            "KeyError",
            'key not found: "OTP_SECRET"',
        ),
    ],
)
def test_exceptions_of_the_web(text: str, name: str, message: str) -> None:
    line = parse("web", text)
    assert line.kind == "exception"
    assert (line.fields["class"], line.fields["message"]) == (name, message)


def test_cause_line() -> None:
    line = parse("web", f"[{RID}] Caused by: PG::ConnectionBad (connection to server failed")
    assert (line.kind, line.fields["class"]) == ("cause", "PG::ConnectionBad")


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        (f"[{RID}] app/models/account.rb:190:in 'Account#unavailable?'", "app/models/account.rb:190"),
        (f"[{RID}] app/models/account.rb:190:in `unavailable?'", "app/models/account.rb:190"),
        (f"[{RID}] lib/mastodon/rack_middleware.rb:22:in `block in <main>'", "lib/mastodon/rack_middleware.rb:22"),
        ("/home/mastodon/live/app/workers/x.rb:5:in `perform'", "app/workers/x.rb:5"),
        ("/home/mastodon/live/vendor/bundle/ruby/3.0.0/gems/activerecord-6.1/lib/active_record/x.rb:83:in `new_client'", ""),
        ("/usr/lib/ruby/3.3.0/socket.rb:1225:in `__connect_nonblock'", ""),
        ("activerecord (7.1.3) lib/active_record/connection.rb:12:in `x'", ""),
    ],
)
def test_frames(text: str, frame: str) -> None:
    line = parse("web", text)
    assert (line.kind, line.fields.get("frame")) == ("frame", frame)


def test_puma_process_is_no_request() -> None:
    line = parse("web", "[4242] ! Terminating timed out worker (Worker 0 failed to check in within 60 seconds): 4250")
    assert line.id == ""
    assert line.text.startswith("[4242] ! ") or line.text.startswith("! ")


KIQ = "2026-01-02T03:04:05.678Z pid=77 tid=abc class=PushWorker jid=0123456789abcdef01234567 elapsed=0.321 INFO: fail"


@pytest.mark.parametrize(
    ("text", "word", "name"),
    [
        (KIQ, "fail", "PushWorker"),
        (
            "\x1b[32mINFO\x1b[0m  2026-01-02T03:04:05.678Z pid=77 tid=abc jid=0123456789abcdef01234567 class=PushWorker elapsed=0.3: fail",
            "fail",
            "PushWorker",
        ),
        (
            "2018-03-26T07:37:02.021Z 3589 TID-gs3lf9s9g ActivityPub::DeliveryWorker JID-7e32f6acd39df0171c2dad00 INFO: fail: 0.148 sec",
            "fail",
            "ActivityPub::DeliveryWorker",
        ),
        (
            "2018-03-26T07:37:02.021Z 3589 TID-gs3lf9s9g ActivityPub::DeliveryWorker JID-7e32f6acd39df0171c2dad00 INFO: done: 0.148 sec",
            "done",
            "ActivityPub::DeliveryWorker",
        ),
    ],
)
def test_job_lines(text: str, word: str, name: str) -> None:
    line = parse("sidekiq", text)
    assert (line.kind, line.fields["word"], line.fields["class"]) == ("job", word, name)
    assert len(line.id) == 24


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2026-01-02T03:04:05.678Z pid=77 tid=abc WARN: PG::ConnectionBad: connection to server failed", "PG::ConnectionBad"),
        (
            "WARN  2026-09-08T12:20:14.771Z pid=1 tid=1kq9: NameError: undefined local variable or method 'x' for an instance of Account",
            "NameError",
        ),
        (
            "2016-04-22T11:11:27.401Z 9118 TID-oux4k1a8c WARN: ActiveRecord::ConnectionTimeoutError: could not obtain",
            "ActiveRecord::ConnectionTimeoutError",
        ),
    ],
)
def test_errors_of_jobs(text: str, name: str) -> None:
    line = parse("sidekiq", text)
    assert (line.kind, line.fields["class"]) == ("exception", name)


def test_sidekiq_heartbeat() -> None:
    line = parse("sidekiq", "\x1b[31mERROR\x1b[0m 2026-06-09T12:02:41.870Z pid=58152 tid=2bsw: heartbeat: Too many open files")
    assert (line.kind, line.severity, line.text) == ("text", "error", "heartbeat: Too many open files")


def test_streaming() -> None:
    pino = (
        '{"level":"error","time":1767323045678,"pid":1,"name":"streaming","err":{"type":"AggregateError","message":"","aggregateErrors":'
        '[{"type":"Error","message":"connect ECONNREFUSED ::1:6379"}],"code":"ECONNREFUSED"},"msg":"Redis Client Error!"}'
    )
    line = parse("streaming", pino)
    assert line.time == 1767323045.678
    assert line.text == "Redis Client Error! AggregateError: connect ECONNREFUSED ::1:6379"
    npm = parse("streaming", f"ERR! {RID} Error: Invalid access token")
    assert (npm.kind, npm.id, npm.fields["message"]) == ("exception", RID, "Invalid access token")
    dead = parse("streaming", "TypeError: webidl.util.markAsUncloneable is not a function")
    assert dead.fields["class"] == "TypeError"


def test_nginx() -> None:
    line = parse(
        "proxy",
        (
            "2026/01/02 03:04:05 [error] 990#990: *48110 connect() failed (111: Connection refused) while connecting to upstream, "
            'client: 192.0.2.19, server: m.example, request: "GET /x HTTP/1.1", '
            'upstream: "http://127.0.0.1:4000/api/v1/streaming/", host: "m"'
        ),
    )
    assert line.text.startswith("connect() failed (111: Connection refused) while connecting to upstream, client: 192.0.2.19")
    assert 'upstream: "http://127.0.0.1:4000/api/v1/streaming"' in line.text
    assert line.time == time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    access = parse("proxy", '192.0.2.1 - - [02/Jan/2026:04:04:05 +0100] "GET /500?status=502 HTTP/2.0" 504 167 "-" "curl 500"')
    assert (access.kind, access.fields["status"], access.time) == ("access", 504, utc(2026, 1, 2, 3, 4, 5))


def test_request_log_of_enable_request_log() -> None:
    """As nginx wrote it; a visitor's quotes come as \\x22 and prove nothing."""
    line = parse(
        "proxy",
        (
            '- - - [02/Jan/2026:04:04:05 +0100] "GET /a\\x22 upstream_status=\\x22500\\x22 HTTP/2.0" 502 167 "-" "-" request_time=0.004 '
            'upstream="127.0.0.1:3000, 127.0.0.1:3001" upstream_status="502, 500" upstream_time="0.001, 0.002" '
            f'request_id="{RID}" host="m.example"'
        ),
    )
    assert (line.kind, line.id, line.fields["status"], line.fields["upstream_status"]) == ("access", RID, 502, "502, 500")
    assert parse("proxy", '- - - [02/Jan/2026:04:04:05 +0100] "GET / HTTP/2.0" 502 1 "-" " request_id=\\x22abc\\x22"').id == ""


@pytest.mark.parametrize(
    ("text", "severity", "message"),
    [
        (
            '2026-01-02 03:04:05.678 UTC [12] mastodon@mastodon_production ERROR:  relation "x" does not exist',
            "error",
            'ERROR:  relation "x" does not exist',
        ),
        ("2026-01-02 03:04:05.678 UTC [12] LOG:  database system is shut down", "info", "LOG:  database system is shut down"),
        (
            "2026-01-02 03:04:05.678 UTC [12] a@b ERREUR:  la relation « x » n'existe pas",
            "error",
            "ERREUR:  la relation « x » n'existe pas",
        ),
        ("2026-01-02 03:04:05.678 UTC [12] a@b FEHLER:  Relation »x« existiert nicht", "error", "FEHLER:  Relation »x« existiert nicht"),
        (
            '2026-01-02 03:04:05.678 UTC [848] PANIC:  could not write to file "pg_wal/xlogtemp.848": No space left on device',
            "fatal",
            'PANIC:  could not write to file "pg_wal/xlogtemp.848": No space left on device',
        ),
    ],
)
def test_postgres(text: str, severity: str, message: str) -> None:
    line = parse("database", text)
    assert (line.severity, line.text, line.time) == (severity, message, utc(2026, 1, 2, 3, 4, 5) + 0.678)


def test_redis() -> None:
    line = parse("redis", "1234:M 02 Jan 2026 03:04:05.678 # Failed opening the temp RDB file temp-1.rdb for saving: Permission denied")
    assert (line.severity, line.time) == ("warn", time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1)) + 0.678)
    assert line.text.startswith("Failed opening the temp RDB file")


def test_kernel() -> None:
    first = parse(
        "kernel",
        (
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/system.slice/mastodon-sidekiq.service,"
            "task_memcg=/system.slice/mastodon-sidekiq.service,task=sidekiq 7.3 live,pid=11786,uid=1000"
        ),
    )
    assert first.fields == {
        "process": "sidekiq 7.3 live",
        "pid": 11786,
        "scope": "cgroup",
        "cgroup": "/system.slice/mastodon-sidekiq.service",
    }
    second = parse("kernel", "Out of memory: Killed process 812 (ruby) total-vm:1kB, anon-rss:1kB, UID:1000 pgtables:1kB oom_score_adj:0")
    assert second.fields == {"process": "ruby", "pid": 812, "scope": "host"}
    assert parse("kernel", "eth0: link up").fields == {}


def test_system() -> None:
    line = parse("system", "mastodon-web.service: Main process exited, code=killed, status=9/KILL")
    assert line.fields == {"unit": "mastodon-web.service", "event": "exited"}


@pytest.mark.parametrize(
    ("text", "rest", "identifier", "at"),
    [
        ("Oct 14 12:20:31 mastodon bundle[940]: hello: you", "hello: you", "bundle", None),
        ("jul 26 10:36:27 debian (bundle)[13731]: Failed", "Failed", "(bundle)", None),
        ("2025-01-16T22:32:10.464057+00:00 mastodon bundle[1704]: I, [x] y", "I, [x] y", "bundle", utc(2025, 1, 16, 22, 32, 10) + 0.464057),
        ("2025-01-16T22:32:10+0100 mastodon systemd[1]: Started", "Started", "systemd", utc(2025, 1, 16, 21, 32, 10)),
        ("Thu 2025-01-16 22:32:10 UTC mastodon bundle[7]: x", "x", "bundle", utc(2025, 1, 16, 22, 32, 10)),
        (
            '{"log":"[1] a: b\\n","stream":"stdout","time":"2018-04-17T02:29:13.653649543Z"}',
            "[1] a: b",
            "",
            utc(2018, 4, 17, 2, 29, 13) + 0.653649543,
        ),
        ("web-1  | [x] method=GET", "[x] method=GET", "", None),
        (
            "mastodon_sidekiq.1.hppplvoll7q5@node1    | 2020-03-09T21:28:36.695Z 6 TID-ov4h9i0i2 X",
            "2020-03-09T21:28:36.695Z 6 TID-ov4h9i0i2 X",
            "",
            None,
        ),
        ("20:06:23 sidekiq.1 | hello", "hello", "", None),
        ("2026-01-02T03:04:05.123456789Z I, [x] y", "I, [x] y", "", utc(2026, 1, 2, 3, 4, 5) + 0.123456789),
        ("2026-01-02T03:04:05.678Z pid=77 tid=abc INFO: x", "2026-01-02T03:04:05.678Z pid=77 tid=abc INFO: x", "", None),
        ("[12345.678901] Out of memory", "Out of memory", "kernel", None),
        ("Nov 20 11:00:00 h kernel: Out of memory", "Out of memory", "kernel", None),
        ("plain words: nothing in front", "plain words: nothing in front", "", None),
    ],
)
def test_outer_prefixes(text: str, rest: str, identifier: str, at: float | None) -> None:
    found = strip_prefix(text)
    assert (found.text, found.identifier) == (rest, identifier)
    if at is not None:
        assert found.time == pytest.approx(at, abs=1e-5)
