# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose lines they are, where logs can lie, and in which zone their times are."""

from __future__ import annotations

import itertools
import time

from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._observe.commands import command_units
from ansible_collections.fediops.mastodon.tests.unit.fixtures.log_door import (
    CLOUD,
    CONFIG,
    NGINX,
    SIGNATURES,
    UNITS,
    Bytes,
    Door,
    observe,
)

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
    return f'{date}.000 {zone} [1] ERROR:  could not extend file "base/1": No space left on device\n'.encode()


def space(data: bytes, written: float, since: float = 0.0) -> dict[str, Any]:
    door = Door(files={"/var/log/postgresql/postgresql-17-main.log": data})
    door.touched["/var/log/postgresql/postgresql-17-main.log"] = written
    found: dict[str, Any] = observe(door, since=since)["signatures"].get("a.space", {"count": 0})
    return found


@pytest.mark.parametrize(("zone", "hours"), [
    ("CET", 1), ("CEST", 2), ("EST", -5), ("JST", 9), ("+0545", 5.75), ("-03", -3), ("UTC", 0),
    ("IST", 5.5), ("IST", 2), ("CST", 8), ("CST", -6), ("XYZT", -3.5),
])  # fmt: skip
def test_times_of_another_zone(zone: str, hours: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")  # elsewhere IST or CST may be the host's own zone, which everybody there knows
    time.tzset()
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


UNIT = b"[Service]\nType=oneshot\n%sExecStart=%s\n"
OF_THE_ADMINISTRATOR = {
    "mastodon-media.service": UNIT % (b"User=mastodon\n", b"/home/mastodon/live/bin/tootctl media remove"),
    "upgrade.service": UNIT % (b"WorkingDirectory=/home/mastodon/live\n", b"/bin/sh -c 'bundle exec rails x && \\\n yarn install'"),
    "elsewhere.service": UNIT % (b"User=mastodon\n", b"/home/mastodon/.rbenv/shims/bundle exec rake"),
    "other-app.service": UNIT % (b"User=shop\nWorkingDirectory=/srv/shop\n", b"/usr/bin/bundle exec rake jobs"),
    "other-place.service": UNIT % (b"User=shop\n", b"/home/mastodon/live-of-the-shop/bin/rails x"),
    "backup.service": UNIT % (b"User=mastodon\n", b"/usr/bin/tar cf /srv/x.tar /home/mastodon/live"),
    "mastodon-web.service": UNIT % (b"User=mastodon\n", b"/home/mastodon/.rbenv/shims/bundle exec puma"),
    "mastodon-media@.service": UNIT % (b"User=mastodon\n", b"/home/mastodon/live/bin/tootctl media %i"),
}


def test_commands_in_units_of_the_administrator() -> None:
    files: dict[str, Any] = {"/etc/systemd/system/" + name: text for name, text in OF_THE_ADMINISTRATOR.items()}
    install = {"units": UNITS, "root": "/home/mastodon/live", "owner": {"user": "mastodon"}}
    assert command_units(Door(files=files), install) == ["elsewhere.service", "mastodon-media.service", "upgrade.service"]
    assert command_units(Door(files=files), {"units": UNITS}) == []
    line = (b"__CURSOR=x\n__REALTIME_TIMESTAMP=1763637600000000\nMESSAGE=PG::UndefinedTable: ERROR:  relation\n"
            b"_SYSTEMD_UNIT=upgrade.service\n_PID=7\n_TRANSPORT=stdout\n\n")  # fmt: skip
    found = observe(Door(line, files), signatures={"a.x": {"in": ["command"], "match": "PG::UndefinedTable"}}, **install)
    assert found["signatures"]["a.x"]["count"] == 1 and "command" in found["read_origins"]
