# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between releases, which subsets are asked for, and what nginx is configured to do."""

from __future__ import annotations

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._duration import seconds_of
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import NAMES, chosen
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.disk import mount_of, mount_table
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.services import role_of
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import image_library, parse_version, rules

VERSION = """module Mastodon
  module Version
    module_function

    def major
      4
    end

    def minor
      {minor}
    end

    def patch
      2
    end

    def default_prerelease
      '{prerelease}'
    end
"""


def test_version_file() -> None:
    assert parse_version(VERSION.format(minor=3, prerelease="")) == ("4.3.2", (4, 3, 2))
    assert parse_version(VERSION.format(minor=5, prerelease="rc.1")) == ("4.5.2-rc.1", (4, 5, 2))
    assert parse_version(VERSION.format(minor=1, prerelease="").replace("default_prerelease", "flags")) == ("4.1.2", (4, 1, 2))
    assert parse_version("puts 'no version'") is None


@pytest.mark.parametrize(
    ("number", "queues", "keys", "postgresql", "redis", "bundler"),
    [
        ((3, 5, 3), 5, ["SECRET_KEY_BASE", "OTP_SECRET"], 9, "4.0", "webpacker"),
        ((4, 1, 25), 6, ["SECRET_KEY_BASE", "OTP_SECRET"], 9, "4.0", "webpacker"),
        ((4, 3, 0), 6, None, 12, "4.0", "webpacker"),
        ((4, 4, 0), 7, None, 13, "6.2", "vite"),
        ((4, 6, 5), 7, None, 14, "7.0", "vite"),
        ((5, 0, 0), 7, None, 14, "7.0", "vite"),
    ],
)
def test_rules(number: tuple[int, ...], queues: int, keys: list[str] | None, postgresql: int, redis: str, bundler: str) -> None:
    found = rules(number)
    assert len(found.queues) == queues
    assert keys is None or list(found.required_keys) == keys
    assert ("OTP_SECRET" in found.required_keys) == (number < (4, 4))
    assert ("ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY" in found.required_keys) == (number >= (4, 3))
    assert (found.minimum_postgresql, found.minimum_redis, found.bundler) == (postgresql, redis, bundler)


@pytest.mark.parametrize(
    ("number", "setting", "expected"),
    [
        ((4, 2, 0), "true", "imagemagick"), ((4, 3, 0), "", "imagemagick"), ((4, 3, 0), "true", "libvips"), ((4, 4, 0), "", "libvips"),
        ((4, 5, 0), "false", "imagemagick"), ((4, 6, 0), "false", "libvips"),
    ],
)  # fmt: skip
def test_image_library(number: tuple[int, ...], setting: str, expected: str) -> None:
    assert image_library(number, setting) == expected


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("/home/mastodon/.rbenv/shims/bundle exec puma -C config/puma.rb", "web"),
        ("puma 6.6.0 (tcp://127.0.0.1:3000) [live]", "web"),
        ("puma: cluster worker 0: 80 [live]", "web"),
        ("bundle exec rails s -p 3000", "web"),
        ("/opt/bundle exec sidekiq -c 25 -q default", "sidekiq"),
        ("sidekiq 7.3.2 live [0 of 25 busy]", "sidekiq"),
        ("/usr/bin/node ./streaming", "streaming"),
        ("/usr/bin/node ./streaming/index.js", "streaming"),
        ("/usr/bin/node server.js", ""),
        ("bundle exec bin/prometheus_exporter -p 9394", ""),
        ("-/usr/bin/pg_ctlcluster --skip-systemctl-redirect 17-main start", "database"),
        ("/usr/lib/postgresql/17/bin/postgres -D /var/lib/postgresql/17/main", "database"),
        ("/usr/bin/redis-server /etc/redis/redis-sidekiq.conf", "redis"),
        ("/usr/bin/valkey-server 127.0.0.1:6379", "redis"),
        ("/usr/sbin/pgbouncer /etc/pgbouncer/pgbouncer.ini", "pooler"),
        ("nginx: master process /usr/sbin/nginx", "proxy"),
        ("grep sidekiq-notes.txt", ""),
        ("", ""),
    ],
)
def test_role_by_what_is_run(command: str, role: str) -> None:
    assert role_of(command.split()) == role


def test_subsets() -> None:
    assert chosen(["all"]) == list(NAMES) == chosen([])
    assert chosen(["database", "redis"]) == ["install", "database", "redis"]
    assert "logs" not in chosen(["all", "!logs"]) and "logs" not in chosen(["!logs"])
    with pytest.raises(ValueError, match="there is no subset 'databse'"):
        chosen(["databse"])


def test_durations() -> None:
    assert [seconds_of(text) for text in ("90", "90s", "15m", "1h", "2 d")] == [90, 90, 900, 3600, 172800]
    for text in ("", "0", "1w", "-1h", "1h30m", "9999999999"):
        with pytest.raises(ValueError, match="log_since is a number"):
            seconds_of(text)


def test_mounts() -> None:
    table = mount_table(
        "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/a rw\n"
        "23 22 0:21 / /srv rw,relatime - ext4 /dev/b rw\n"
        "24 22 0:21 / /srv ro,relatime - ext4 /dev/b rw\n"
        "25 22 0:22 / /with\\040space rw - tmpfs tmpfs rw\n"
        "nonsense\n"
    )
    assert mount_of("/srv/media", table) == ("/srv", "ext4", True)
    assert mount_of("/srvother", table) == ("/", "ext4", False)
    assert mount_of("/with space/x", table)[0] == "/with space"
