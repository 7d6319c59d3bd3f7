# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Redis as Mastodon reads them, against the real server: reached where the app goes, unknown where it says no."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import Box, diagnose

SUBSETS = '{"mastodon_gather_subset": ["redis", "sidekiq", "environment", "services", "logs"]}'
PASSWORD = "S3cretPW99"
KEYS = ("URL", "HOST", "PORT", "DB", "USER", "PASSWORD", "SENTINELS", "SENTINEL_MASTER", "SENTINEL_PORT")
SENTINEL = """
printf 'port 26390\\ndir /tmp\\nsentinel monitor chief 127.0.0.1 6379 1\\n' >/tmp/sentinel.conf
redis-server /tmp/sentinel.conf --sentinel --daemonize yes --logfile /tmp/sentinel.log
for _ in 1 2 3 4 5 6 7 8 9; do redis-cli -p 26390 ping >/dev/null 2>&1 && break; sleep 0.3; done
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box.start("trixie") as started:
        started.ready()
        yield started


@pytest.fixture
def facts(box: Box, tmp_path: Path) -> Any:
    """Diagnose with these settings of Redis and no others; the host's diagnosis and all that was printed."""

    def ask(**settings: str) -> tuple[dict[str, Any], str]:
        empty = {use + "REDIS_" + key: None for use in ("", "SIDEKIQ_", "CACHE_") for key in KEYS}
        box.set_env(**dict(empty, **settings))
        diagnosis, output = diagnose(box, tmp_path, "-e", SUBSETS)
        return diagnosis["hosts"][box.name], output

    return ask


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"SIDEKIQ_REDIS_DB": "1"},  # without a host it is the base: the processes are found
        {"REDIS_URL": "redis://localhost:6379/0", "REDIS_HOST": "192.0.2.1"},
        {"REDIS_SENTINELS": "192.0.2.1:1", "REDIS_HOST": "localhost"},  # no name of a master: not used
        {"REDIS_SENTINELS": "127.0.0.1", "REDIS_SENTINEL_PORT": "26390", "REDIS_SENTINEL_MASTER": "chief", "REDIS_HOST": "192.0.2.1"},
    ],
)
def test_the_server_is_found(box: Box, facts: Any, settings: dict[str, str]) -> None:
    if "REDIS_SENTINEL_PORT" in settings:
        box.run(SENTINEL)
    host, output = facts(**settings)
    assert {"redis_down", "redis_auth_failed", "sidekiq_not_running"} <= set(host["passed"]), output


def test_a_url_as_host_shows_no_password(facts: Any) -> None:
    host, output = facts(REDIS_HOST=f"redis://:{PASSWORD}@localhost:6379/0")
    assert PASSWORD not in output and PASSWORD not in str(host)
    assert "sidekiq_not_running" not in [each["id"] for each in host["findings"]]


def test_a_renamed_auth_shows_no_password(box: Box, facts: Any) -> None:
    box.run("redis-server --port 6390 --daemonize yes --save '' --rename-command AUTH hidden-auth --logfile /tmp/6390.log; sleep 1")
    host, output = facts(REDIS_HOST="127.0.0.1", REDIS_PORT="6390", REDIS_PASSWORD=PASSWORD)
    assert PASSWORD not in output and PASSWORD not in str(host)
    assert "sidekiq_not_running" not in [each["id"] for each in host["findings"]]


def test_what_the_user_may_not_read_is_unknown(box: Box, facts: Any) -> None:
    box.redis("ACL", "SETUSER", "narrow", "on", f">{PASSWORD}", "~*", "+ping", "+info", "+select", "+auth")
    host, output = facts(REDIS_HOST="localhost", REDIS_USER="narrow", REDIS_PASSWORD=PASSWORD)
    box.redis("ACL", "DELUSER", "narrow")
    assert "sidekiq_queue_missing" not in [*host["passed"], *(each["id"] for each in host["findings"])], output
    assert "sidekiq_not_running" not in [each["id"] for each in host["findings"]], output
    assert "NOPERM" in str(host) and PASSWORD not in output
