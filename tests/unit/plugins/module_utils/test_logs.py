# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs subset, over journals and files recorded on real servers.

Debian 13 is Rails 7.2, Sidekiq 7.3 and pino; Debian 12 is Rails 6.1, Sidekiq 6.4 and npmlog.
"""

from __future__ import annotations

import json

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._observe import logs
from ansible_collections.fediops.mastodon.tests.unit.fixtures.log_door import (
    CONFIG,
    FIXTURES,
    NGINX,
    Bytes,
    Door,
    observe,
    recorded,
)

EXPECTED: dict[str, tuple[set[str], str, str]] = {  # fixture: signatures, innermost class of the web, frame
    "debian-13-healthy": (set(), "", ""),
    "debian-12-healthy": (set(), "", ""),
    "debian-13-postgres-stopped": ({"a.refused"}, "PG::ConnectionBad", "app/controllers/api/base_controller.rb:28"),
    "debian-12-postgres-stopped": ({"a.refused"}, "ActiveRecord::ConnectionNotEstablished", "app/controllers/api/base_controller.rb:28"),
    "debian-13-redis-stopped": ({"a.redis"}, "Errno::ECONNREFUSED", ""),
    "debian-12-redis-stopped": ({"a.redis"}, "", ""),
    "debian-13-column-dropped": ({"a.attribute"}, "NoMethodError", "app/services/post_status_service.rb:14"),
    "debian-12-column-dropped": ({"a.attribute"}, "ActiveModel::MissingAttributeError", "app/models/status.rb:13"),
    "debian-13-table-missing": ({"a.relation"}, "PG::UndefinedTable", ""),
    "debian-12-table-missing": ({"a.relation"}, "PG::UndefinedTable", "app/controllers/api/base_controller.rb:28"),
    "debian-13-ffmpeg-missing": ({"a.tools"}, "", ""),
    "debian-12-ffmpeg-missing": ({"a.tools"}, "", ""),
    "debian-13-media-permissions": ({"a.denied"}, "Errno::EACCES", "lib/paperclip.rb:27"),
    "debian-13-disk-full-media": ({"a.space"}, "Errno::ENOSPC", "lib/paperclip.rb:27"),
    "debian-13-disk-full-postgres": ({"a.space"}, "PG::DiskFull", ""),
    "debian-12-disk-full-postgres": ({"a.space"}, "PG::DiskFull", "app/services/post_status_service.rb:14"),
    "debian-13-read-only-media": ({"a.read_only"}, "Errno::EROFS", "lib/paperclip.rb:27"),
    "debian-13-redis-misconf": ({"a.misconf"}, "RedisClient::CommandError", ""),
    "debian-12-redis-misconf": ({"a.misconf"}, "", ""),
    "debian-12-too-many-connections": ({"a.slots"}, "ActiveRecord::ConnectionNotEstablished", "app/controllers/api/base_controller.rb:28"),
    "debian-13-too-many-connections": ({"a.slots"}, "PG::ConnectionBad", "app/controllers/api/base_controller.rb:28"),
    "debian-12-role-connection-limit": ({"a.slots"}, "ActiveRecord::ConnectionNotEstablished", "app/controllers/api/base_controller.rb:28"),
    "debian-13-db-auth-failed": ({"a.auth"}, "PG::ConnectionBad", "app/controllers/api/base_controller.rb:28"),
    "debian-12-db-auth-failed": ({"a.auth"}, "ActiveRecord::ConnectionNotEstablished", "app/controllers/api/base_controller.rb:28"),
    "debian-13-db-pool-exhausted": ({"a.pool"}, "ActiveRecord::ConnectionTimeoutError", "app/controllers/api/base_controller.rb:28"),
    "debian-12-db-pool-exhausted": ({"a.pool"}, "ActiveRecord::ConnectionTimeoutError", "app/controllers/api/base_controller.rb:28"),
    "debian-13-manifest-missing": ({"a.assets", "a.exited"}, "ViteRuby::MissingEntrypointError", "lib/packs.rb:37"),
    "debian-12-manifest-missing": ({"a.assets"}, "ActionView::Template::Error", "lib/packs.rb:28"),
    "debian-13-env-missing": ({"a.key", "a.exited"}, "SystemExit", ""),
    "debian-12-env-missing": ({"a.key"}, "KeyError", "config/initializers/otp_secret.rb:4"),
    "debian-13-env-unreadable": ({"a.denied", "a.exited"}, "Errno::EACCES", "config/application.rb:19"),
    "debian-12-env-unreadable": ({"a.denied", "a.exited"}, "Errno::EACCES", "config/application.rb:19"),
    "debian-13-rails-env-missing": ({"a.rails_env", "a.exited"}, "SystemExit", ""),
    "debian-12-rails-env-missing": ({"a.rails_env", "a.exited"}, "SystemExit", ""),
    "debian-13-namespace-226": ({"a.namespace", "a.exited"}, "", ""),
    "debian-12-namespace-226": ({"a.namespace", "a.exited"}, "", ""),
    "debian-13-memory-limit-oom": ({"a.oom", "a.exited"}, "", ""),
    "debian-12-memory-limit-oom": ({"a.oom", "a.exited"}, "", ""),
    "debian-13-latin1": ({"a.encoding"}, "PG::UntranslatableCharacter", ""),
    "debian-12-latin1": ({"a.encoding"}, "PG::UntranslatableCharacter", "app/services/post_status_service.rb:14"),
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_faults(name: str) -> None:
    signatures, class_, frame = EXPECTED[name]
    found = recorded(name + ".export")
    assert set(found["signatures"]) == signatures
    groups = {(one["class"], one.get("frame", "")) for one in found["exceptions"] if one["origin"] == "web"}
    assert not class_ or (class_, frame) in groups
    assert class_ or signatures - {"a.tools"} or not groups
    assert "_reason" not in found


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.export")))
def test_every_recording_is_counted_as_grep_would(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    found = recorded(name)
    assert sum(source["lines"] for source in found["sources"]) == data.count(b"\n__REALTIME_TIMESTAMP=")
    web = [one for one in data.split(b"\n\n") if b"\n_SYSTEMD_UNIT=mastodon-web.service" in one and b"method=" in one]
    for status in ("200", "500"):
        assert found["requests"]["by_status"].get(status, 0) == sum(f" status={status} ".encode() in one for one in web)


def test_a_healthy_server() -> None:
    found = recorded("debian-13-healthy.export")
    assert found["posts"]["total"] == 3
    assert found["posts"]["failed"] == 0
    assert found["posts"]["last_ok_epoch"] > 1e9
    assert found["jobs"] == {"done": 6, "failed": 0, "delivered": 3}
    assert found["exceptions"] == []
    assert found["requests"]["server_errors"] == 0
    assert "first_error_epoch" not in found["requests"]


def test_one_failed_request_is_one_failure() -> None:
    found = recorded("debian-12-table-missing.export")  # the request line, the exception line: the same failure
    assert found["requests"]["by_status"] == {"500": 2}
    assert found["signatures"]["a.relation"]["count"] == 2
    assert [(one["class"], one["count"]) for one in found["exceptions"]] == [("PG::UndefinedTable", 2)]
    assert len(found["exceptions"][0]["request_ids"]) == 2
    assert found["posts"] == {"total": 1, "failed": 1, "last_failed_epoch": found["posts"]["last_failed_epoch"]}


@pytest.mark.parametrize("suite", ["debian-13", "debian-12"])
def test_oom_kills(suite: str) -> None:
    kills = recorded(f"{suite}-memory-limit-oom.export")["_oom_kills"]
    assert kills
    assert {(kill["unit"], kill["process"], kill["scope"]) for kill in kills} == {("mastodon-web.service", "puma", "cgroup")}
    assert len({kill["time_epoch"] for kill in kills}) == len(kills)


@pytest.mark.parametrize(("version", "statuses"), [("1.26.3", {"502": 13, "504": 8}), ("1.22.1", {"502": 6, "504": 8})])
def test_nginx_files(version: str, statuses: dict[str, int]) -> None:
    files = {f"/var/log/nginx/{what}.log": (FIXTURES / f"nginx-{version}-{what}.log").read_bytes() for what in ("access", "error")}
    found = observe(Door(files={**files, CONFIG: NGINX % (b"", b"")}), domain="mastodon.test")
    counted = found["proxy_requests"]["by_status"]
    assert {status: counted[status] for status in statuses} == statuses
    assert found["proxy_requests"]["total"] == files["/var/log/nginx/access.log"].count(b"\n")
    assert found["proxy_requests"]["server_errors"] == sum(count for status, count in counted.items() if status >= "500")
    assert found["signatures"]["a.proxy_slow"]["count"] == 8
    assert found["signatures"]["a.proxy_refused"]["count"] > 3
    assert {source["name"] for source in found["sources"]} == set(files)


@pytest.mark.parametrize("version", ["17.12", "15"])
def test_postgres_file(version: str) -> None:
    found = observe(Door(files={"/var/log/postgresql/postgresql-main.log": (FIXTURES / f"postgresql-{version}-faults.log").read_bytes()}))
    assert {"a.relation", "a.slots", "a.space", "a.encoding"} == set(found["signatures"])
    assert not any("INSERT" in sample["text"] for one in found["signatures"].values() for sample in one["samples"])


@pytest.mark.parametrize("version", ["8.0.2", "7.0.15"])
def test_redis_file(version: str) -> None:
    found = observe(Door(files={"/var/log/redis/redis-server.log": (FIXTURES / f"redis-{version}-misconf.log").read_bytes()}))
    assert set(found["signatures"]) == {"a.misconf"}


def test_only_lines_of_the_window() -> None:
    data = (FIXTURES / "nginx-1.26.3-access.log").read_bytes()
    files = {"/var/log/nginx/access.log": data, CONFIG: NGINX % (b"", b"")}
    assert observe(Door(files=files), since=4e9, domain="mastodon.test")["proxy_requests"]["total"] == 0
    old = (
        b"2020/01/01 00:00:00 [error] 1#1: *1 upstream timed out (110: x\n2026/01/01 00:00:00 [error] 1#1: *1 upstream timed out (110: x\n"
    )
    found = observe(Door(files={"/var/log/nginx/error.log": old}), since=1.7e9)
    assert found["signatures"]["a.proxy_slow"]["count"] == 1


def test_the_first_line_of_a_cut_file_is_half_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b"2026/01/01 00:00:00 [error] 1#1: *1 upstream timed out (110: Connection timed out) while reading\n"
    monkeypatch.setattr(logs, "FILE_BYTES", len(whole) + 30)
    monkeypatch.setattr(logs, "LEAST_BYTES", 0)
    found = observe(Door(files={"/var/log/nginx/error.log": whole * 3}))
    assert found["sources"][0]["lines"] == found["signatures"]["a.proxy_slow"]["count"] == 1
    assert found["sources"][0]["reason"] == f"only the last {len(whole) + 30} of {3 * len(whole)} bytes were read"


def test_stored_docker_logs() -> None:
    line = json.dumps(
        {
            "log": "[0c5d2b19-3bb2-4f0b-8f0a-1b6e2a0e1a00] method=POST path=/api/v1/statuses format=html controller=X action=y status=500 "
            "error='Errno::EROFS: Read-only file system @ x' duration=1.0\n",
            "stream": "stdout",
            "time": "2026-04-17T02:29:14.450220118Z",
        }
    )
    files = {"/x/web-json.log": line.encode() + b"\n"}
    found = observe(Door(files=files), log_files={"web": list(files)})
    assert found["signatures"]["a.read_only"]["count"] == 1
    assert found["posts"]["failed"] == 1
    assert found["requests"]["first_error_epoch"] == pytest.approx(1776392954.45, abs=0.01)


def test_a_source_that_fails_loses_no_other() -> None:
    files: dict[str, Any] = {
        "/var/log/nginx/error.log": OSError("disk on fire"),
        "/var/log/redis/redis.log": (FIXTURES / "redis-8.0.2-misconf.log").read_bytes(),
    }
    found = observe(Door(RuntimeError("no journalctl"), files))
    assert set(found["signatures"]) == {"a.misconf"}
    assert "disk on fire" in found["_reason"]
    assert "no journalctl" in found["_reason"]


def test_a_cut_journal_says_so() -> None:
    data = (FIXTURES / "debian-13-healthy.export").read_bytes()
    found = observe(Door(Bytes(data, truncated=True, reason="the time was up")))
    assert {(source["truncated"], source["reason"]) for source in found["sources"]} == {(True, "the time was up")}


def test_a_long_journal_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "JOURNAL_LINES", 2000)
    door = Door(b"".join(entry("hello", number) for number in range(2000)))
    (source,) = observe(door)["sources"]
    assert door.asked == [2000]
    assert (source["truncated"], source["oldest_epoch"]) == (True, 1763637600.0)
    assert source["reason"] == "only the newest 2000 lines of the journal were read"


def test_broken_signatures_are_named() -> None:
    found = observe(Door(), signatures={"x.y": {"in": ["web"], "match": "("}})
    assert "x.y" in found["_reason"]


def entry(message: str, number: int, unit: str = "mastodon-web.service") -> bytes:
    return (
        f"__CURSOR=x\n__REALTIME_TIMESTAMP={1763637600000000 + number * 1000}\nMESSAGE={message}\n"
        f"_SYSTEMD_UNIT={unit}\n_PID=7\n_TRANSPORT=stdout\n\n"
    ).encode()


def test_the_result_stays_small_whatever_the_log() -> None:
    def journal() -> Iterator[bytes]:
        for number in range(6000):
            rid = f"{number:08x}-0000-4000-8000-000000000000"
            yield entry(f"[{rid}] PG::Class{number}Error (number {number % 150} {'y' * 900}):", number)
            yield entry(f"[{rid}] app/models/{'long' * 30}{number}.rb:12:in 'x'", number)

    many = {f"issue.{number}": {"in": ["web"], "match": f"number {number} "} for number in range(150)}
    found = observe(Door(b"".join(journal())), signatures=many)
    assert len(json.dumps(found)) < 120000
    assert len(found["signatures"]) == 150
    assert found["signatures"]["issue.3"]["count"] == 40
    assert sum(one["count"] for one in found["exceptions"]) + found["exceptions_other"] == 6000
    assert len(found["exceptions"]) <= 20


def test_no_secret_in_the_result() -> None:
    lines = [
        "[0c5d2b19-3bb2-4f0b-8f0a-1b6e2a0e1a00] PG::ConnectionBad (postgres://mastodon:standin-database-password@db/x "
        "password authentication failed for user):",
        "! Unable to load application: Errno::EACCES: DB_PASS=standin-database-password",
        "[0c5d2b19-3bb2-4f0b-8f0a-1b6e2a0e1a01] method=GET path=/?access_token=abcdefgh12345678 controller=X action=y status=500 "
        "error='Errno::EACCES: standin%2Ddatabase%2Dpassword'",
    ]
    found = json.dumps(observe(Door(b"".join(entry(line, i) for i, line in enumerate(lines)))))
    assert "standin-database" not in found
    assert "%2Ddatabase" not in found
    assert "abcdefgh12345678" not in found
    assert "password authentication failed" in found


def test_one_call_of_journalctl() -> None:
    door = Door()
    observe(door)
    assert len(door.asked) == 1
