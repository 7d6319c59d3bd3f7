# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs subset, over journals and files recorded on real servers.

Debian 13 is Rails 7.2, Sidekiq 7.3 and pino; Debian 12 is Rails 6.1, Sidekiq 6.4 and npmlog.
"""

from __future__ import annotations

import itertools
import json
import os
import time

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._observe import logs

FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"
UNITS = [
    {"name": "mastodon-web.service", "role": "web"},
    {"name": "mastodon-sidekiq.service", "role": "sidekiq"},
    {"name": "mastodon-streaming@4000.service", "role": "streaming"},
    {"name": "mastodon-streaming.service", "role": "streaming"},
    {"name": "redis-server.service", "role": "redis"},
    {"name": "nginx.service", "role": "proxy"},
    {"name": "postgresql@17-main.service", "role": "database"},
    {"name": "postgresql@15-main.service", "role": "database"},
]
APPS = ["web", "sidekiq", "streaming"]
SIGNATURES: dict[str, dict[str, Any]] = {
    "a.relation": {"in": [*APPS, "database"], "match": r"PG::Undefined(?:Column|Table)|relation \S+ does not exist"},
    "a.attribute": {"in": APPS, "match": r"ActiveModel::(?:MissingAttribute|UnknownAttribute)Error"},
    "a.refused": {"in": APPS, "match": r"connection to server .* failed: (?:No such file|Connection refused)"},
    "a.auth": {"in": APPS, "match": r"password authentication failed for user"},
    "a.pool": {"in": APPS, "match": r"ActiveRecord::ConnectionTimeoutError"},
    "a.slots": {"in": [*APPS, "database"], "match": r"remaining connection slots are reserved|too many connections for role"},
    "a.redis": {"in": APPS, "match": r"Redis(?:Client)?::CannotConnectError|ECONNREFUSED \S+:6379"},
    "a.misconf": {"in": [*APPS, "redis"], "match": r"MISCONF Redis is configured|Failed opening the (?:temp )?RDB file"},
    "a.space": {"in": [*APPS, "database", "kernel"], "match": r"No space left on device"},
    "a.denied": {"in": APPS, "match": r"Errno::EACCES\b"},
    "a.read_only": {"in": APPS, "match": r"Errno::EROFS"},
    "a.tools": {"in": APPS, "match": r"CommandNotFoundError"},
    "a.assets": {"in": APPS, "match": r"(?:Webpacker|Vite Ruby) can't find"},
    "a.encoding": {"in": [*APPS, "database"], "match": r"has no equivalent in encoding"},
    "a.rails_env": {"in": APPS, "match": r"RAILS_ENV environment variable"},
    "a.key": {"in": APPS, "match": r'key not found: "OTP_SECRET"|requires? that these variables are set'},
    "a.oom": {"in": ["kernel"], "match": r"[Oo]ut of memory: Killed process"},
    "a.namespace": {"in": ["system"], "match": r"Failed at step NAMESPACE"},
    "a.exited": {"in": ["system"], "match": r"Main process exited"},
    "a.proxy_refused": {"in": ["proxy"], "match": r"^connect\(\) failed \(111: Connection refused\)"},
    "a.proxy_slow": {"in": ["proxy"], "match": r"^upstream timed out \(110"},
}


@pytest.fixture(autouse=True)
def later_than_all_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "clock", SimpleNamespace(time=lambda: 2e9, monotonic=time.monotonic))


class Bytes:
    """What the door hands out: chunks, and afterwards whether something is missing."""

    def __init__(self, data: bytes, truncated: bool = False, reason: str = "", size: int = 65536) -> None:
        self.truncated, self.reason = truncated, reason
        self._chunks = [data[i : i + size] for i in range(0, len(data), size)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)


class Door:
    """A host whose journal and files are given."""

    def __init__(self, journal: Any = b"", files: dict[str, Any] | None = None) -> None:
        self.entries, self.files = journal, files or {}
        self.touched: dict[str, float] = {}
        self.asked: list[int] = []

    def journal(self, units: Any, since_epoch: float, lines: int, deadline: float, max_bytes: int) -> Bytes:
        self.asked.append(lines)
        if isinstance(self.entries, Exception):
            raise self.entries
        return self.entries if isinstance(self.entries, Bytes) else Bytes(self.entries)

    def tail(self, path: str, max_bytes: int) -> Bytes:
        found = self.files[path]
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Bytes) else Bytes(found)

    def glob(self, pattern: str) -> list[str]:
        return sorted(path for path in self.files if Path(path).match(pattern))

    def exists(self, path: str) -> bool:
        return path in self.files

    def maybe(self, path: str, max_bytes: int = 0) -> str | None:
        return self.files[path].decode() if path in self.files else None

    def stat(self, path: str) -> os.stat_result | None:
        return os.stat_result((0o100644, 0, 0, 1, 0, 0, 1, *[self.touched.get(path, 2e9)] * 3)) if path in self.files else None


NGINX = b"""
http {
  access_log /var/log/nginx/access.log;
  upstream backend { server unix:/run/mastodon/puma.sock; server 127.0.0.1:3000; }
  server { server_name mastodon.test www.mastodon.test; root /home/mastodon/live/public;
    %s
    location / { proxy_pass http://backend; } location /api/v1/streaming { proxy_pass http://127.0.0.1:4000; } }
  %s
}
"""
CLOUD = b"server { server_name cloud.example.org; location / { fastcgi_pass unix:/run/php-fpm.sock; } %s }"
CONFIG = "/etc/nginx/nginx.conf"


def observe(door: Door, since: float = 0.0, signatures: dict[str, Any] | None = None, **install: Any) -> dict[str, Any]:
    options = {
        "since_epoch": since,
        "deadline": time.monotonic() + 60,
        "signatures": SIGNATURES if signatures is None else signatures,
        "secrets": ["standin-database-password"],
    }
    return logs.observe(door, {"units": UNITS, **install}, options)


def recorded(name: str) -> dict[str, Any]:
    return observe(Door((FIXTURES / name).read_bytes()))


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
    assert found["jobs"] == {"done": 6, "failed": 0}
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


def test_the_first_line_of_a_cut_file_is_half_a_line() -> None:
    cut = Bytes(
        b"me: 502\n2026/01/01 00:00:00 [error] 1#1: *1 upstream timed out (110: x\n", truncated=True, reason="only the last 2 of 9 bytes"
    )
    found = observe(Door(files={"/var/log/nginx/error.log": cut}))
    assert found["sources"][0]["lines"] == 1
    assert found["sources"][0]["truncated"] is True
    assert found["sources"][0]["reason"].startswith("only the last")


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


CONNECTIONS = itertools.count(1)


def nginx_error(message: str, server: str, upstream: str, request: str = "GET / HTTP/1.1") -> bytes:
    return (f"2026/01/01 00:00:00 [error] 1#1: *{next(CONNECTIONS)} {message}, client: 192.0.2.1, server: {server}, "
            f'request: "{request}", upstream: "{upstream}", host: "x"\n').encode()  # fmt: skip


REFUSED = "connect() failed (111: Connection refused) while connecting to upstream"
FOREIGN = [
    nginx_error(REFUSED, "cloud.example.org", "fastcgi://unix:/run/php-fpm.sock:"),
    nginx_error("upstream timed out (110: Connection timed out) while reading response header from upstream", "cloud.example.org",
                "http://127.0.0.1:9000/api/v1/statuses"),
    nginx_error(REFUSED, "cloud.example.org", "fastcgi://127.0.0.1:9000", 'GET /", upstream: "http://127.0.0.1:3000/ HTTP/1.1'),
]  # fmt: skip
OURS = [
    nginx_error(REFUSED, "mastodon.test", "http://127.0.0.1:3000/"),
    nginx_error(REFUSED, "www.mastodon.test", "http://127.0.0.1:3000/"),
    nginx_error(REFUSED, "_", "http://127.0.0.1:3000/"),
]


@pytest.mark.parametrize("config", [NGINX % (b"", CLOUD % b""), None])
def test_errors_of_other_virtual_hosts_are_not_ours(config: bytes | None) -> None:
    for lines, count in ((FOREIGN, 0), (OURS, 3)):
        files = {"/var/log/nginx/error.log": b"".join(lines), **({CONFIG: config} if config else {})}
        found = observe(Door(files=files), domain="mastodon.test", _environment={"ALTERNATE_DOMAINS": "www.mastodon.test"})
        assert sum(one["count"] for one in found["signatures"].values()) == count
        assert "proxy" in found["read_origins"]


def test_a_name_of_the_environment_is_ours() -> None:
    files = {"/var/log/nginx/error.log": nginx_error(REFUSED, "social.example", "http://10.0.0.1:3000/")}
    assert observe(Door(files=files), domain="example", _environment={"WEB_DOMAIN": "social.example"})["signatures"]
    assert not observe(Door(files=files), domain="example")["signatures"]


ACCESS = b'192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 502 1 "-" "x"\n'


@pytest.mark.parametrize(("own", "other", "total"), [
    (b"", b"", 1),
    (b"", CLOUD % b"", None),
    (b"", CLOUD % b"access_log off;", 1),
    (b"", CLOUD % b"access_log /var/log/nginx/cloud.log;", 1),
    (b"access_log /srv/m.log combined;", CLOUD % b"", 2),
    (b"access_log /srv/m.log combined;", CLOUD % b"access_log /srv/m.log;", None),
    (b"access_log /srv/$host.log;", CLOUD % b"", None),
])  # fmt: skip
def test_only_an_access_log_of_our_own_is_counted(own: bytes, other: bytes, total: int | None) -> None:
    files = {CONFIG: NGINX % (own, other), "/var/log/nginx/access.log": ACCESS, "/srv/m.log": ACCESS * 2}
    found = observe(Door(files=files), domain="mastodon.test")
    assert found.get("proxy_requests", {}).get("total") == total


def test_logs_at_other_places_are_read() -> None:
    files = {CONFIG: NGINX % (b"error_log /srv/m-error.log;", b""), "/srv/m-error.log": OURS[0], "/srv/m-error.log.1": OURS[1]}
    door = Door(files=files)
    assert observe(door, since=1.7e9, domain="mastodon.test")["signatures"]["a.proxy_refused"]["count"] == 2
    files["/srv/m-error.log-20260101"] = OURS[2]
    assert observe(door, since=1.7e9, domain="mastodon.test")["signatures"]["a.proxy_refused"]["count"] == 3
    del files["/srv/m-error.log-20260101"]
    door.touched["/srv/m-error.log.1"] = 1.6e9
    assert observe(door, since=1.7e9, domain="mastodon.test")["signatures"]["a.proxy_refused"]["count"] == 1


def test_output_sent_to_files_is_read() -> None:
    units = [{"name": "mastodon-web.service", "role": "web", "_standard_output": "append:/var/log/mastodon/web.log"},
             {"name": "mastodon-sidekiq.service", "role": "sidekiq", "_standard_output": "append:/var/log/mastodon/sidekiq.log"},
             {"name": "apache2.service", "role": "proxy"}]  # fmt: skip
    web = b"E, [2026-01-02T03:04:05.678901 #1] ERROR -- : [0c5d2b19-3bb2-4f0b-8f0a-1b6e2a0e1a00] Errno::EROFS (Read-only file system):\n"
    apache = (b"[Fri Jan 02 03:04:05.678901 2026] [proxy:error] [pid 1:tid 2] (111)Connection refused: AH00957: HTTP: "
              b"attempt to connect to 127.0.0.1:%d (127.0.0.1:1) failed\n")  # fmt: skip
    files: dict[str, Any] = {"/var/log/mastodon/web.log": web, "/var/log/apache2/m-error.log": apache % 3000 + apache % 9000}
    found = observe(Door(files=files), units=units, domain="mastodon.test",
                    signatures={**SIGNATURES, "a.apache": {"in": ["proxy"], "match": "AH00957"}})  # fmt: skip
    assert found["signatures"]["a.read_only"]["count"] == 1
    assert found["signatures"]["a.apache"]["count"] == 1
    assert found["read_origins"] == ["web", "proxy", "kernel", "system"]
    assert "proxy_requests" not in found


def test_origins_that_were_read() -> None:
    assert observe(Door())["read_origins"] == ["web", "sidekiq", "streaming", "database", "redis", "kernel", "system"]
    assert observe(Door(RuntimeError("no journalctl")))["read_origins"] == []
    denied = Bytes(b"", truncated=True, reason="may not be read")
    assert "proxy" not in observe(Door(files={"/var/log/nginx/error.log": denied}))["read_origins"]
    assert "proxy" in observe(Door(files={"/var/log/nginx/error.log": b""}))["read_origins"]


def postgres(seconds_ago: float, offset: float, zone: str, now: float) -> bytes:
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now - seconds_ago + offset))
    return f"{date}.000 {zone} [1] ERROR:  could not extend file \"base/1\": No space left on device\n".encode()


def space(data: bytes, written: float, since: float = 0.0) -> dict[str, Any]:
    door = Door(files={"/var/log/postgresql/postgresql-17-main.log": data})
    door.touched["/var/log/postgresql/postgresql-17-main.log"] = written
    found: dict[str, Any] = observe(door, since=since)["signatures"].get("a.space", {"count": 0})
    return found


@pytest.mark.parametrize(("zone", "hours"), [
    ("CET", 1), ("CEST", 2), ("EST", -5), ("JST", 9), ("+0545", 5.75), ("-03", -3), ("UTC", 0),
    ("IST", 5.5), ("IST", 2), ("CST", 8), ("CST", -6), ("XYZT", -3.5),
])  # fmt: skip
def test_times_of_another_zone(zone: str, hours: float) -> None:
    if zone in ("IST", "CST") and zone in time.tzname:
        pytest.skip("here everybody knows which zone that is")
    now = float(int(time.time()))
    data = b"".join(postgres(ago, hours * 3600, zone, now) for ago in (7200, 3600, 5))
    found = space(data, now - 5)
    assert (found["count"], round(now - found["first_epoch"]), round(now - found["last_epoch"])) == (3, 7200, 5)
    assert space(data, now - 5, since=now - 1800)["count"] == 1


def test_a_time_nobody_can_tell_is_not_now() -> None:
    now = float(int(time.time()))
    assert space(postgres(3600, 7 * 3600, "XYZT", now), now - 2500)["count"] == 0
    assert space(postgres(3600, 7 * 3600, "UTC", now), now - 2500)["count"] == 0
    found = space(postgres(3600, 7 * 3600, "UTC", now), now - 3600)  # its clock is wrong by hours: the file's time counts
    assert round(now - found["last_epoch"]) == 3600
