# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application needs and what it gets: ranges of versions, packages, libraries, and the times that systemd allows."""

from __future__ import annotations

import json
import time

from pathlib import Path

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.install import _pools
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.media import _library
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.node import missing_packages, satisfies
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.services import time_span


@pytest.mark.parametrize(("wanted", "fits", "does_not"), [
    (">=20", "20.19.2 22.1.0", "18.20.4"),
    (">= 18.12.0 <23", "18.12.0 22.9.9", "18.11.9 23.0.0"),
    ("^18.12 || >=20.1", "18.20.4 20.1.0 99.0.0", "18.11.0 19.0.0 20.0.9"),
    ("20.x", "20.0.0 20.19.2", "19.9.9 21.0.0"),
    ("~20.1", "20.1.7", "20.2.0 20.0.9"),
    ("20", "20.19.2", "21.0.0"),
    ("=20.19.2", "20.19.2", "20.19.3"),
    (">20", "21.0.0", "20.19.2"),
    ("<=20", "20.19.2 18.0.0", "21.0.0"),
])  # fmt: skip
def test_ranges(wanted: str, fits: str, does_not: str) -> None:
    assert [satisfies(version, wanted) for version in fits.split()] == [True] * len(fits.split())
    assert [satisfies(version, wanted) for version in does_not.split()] == [False] * len(does_not.split())


@pytest.mark.parametrize("wanted", ["", "lts/*", "18 - 20", ">=20-rc.1", "node", ">=20 and more", "||", "x" * 5000, ">=" * 5000])
def test_what_is_not_understood_is_unknown(wanted: str) -> None:
    assert satisfies("20.19.2", wanted) is None


@pytest.mark.parametrize(("text", "seconds"), [
    ("15s", 15.0), ("1min 30s", 90.0), ("500ms", 0.5), ("1h", 3600.0), ("1month 2d", 2802600.0), ("0", 0.0), ("infinity", None), ("", None),
])  # fmt: skip
def test_times_of_systemd(text: str, seconds: float | None) -> None:
    assert time_span(text) == seconds


def test_packages_are_looked_for_where_node_looks(tmp_path: Path) -> None:
    host, root = Host(time.monotonic() + 60), str(tmp_path)
    assert missing_packages(host, root) is None
    (tmp_path / "streaming" / "node_modules" / "ws").mkdir(parents=True)
    (tmp_path / "node_modules" / "@scope" / "one").mkdir(parents=True)
    package = tmp_path / "streaming" / "package.json"
    package.write_text(json.dumps({"dependencies": {"ws": "1", "@scope/one": "1", "pg": "1", "../../etc": "1", "x y": "1"}}))
    assert missing_packages(host, root) == ["pg"]
    for broken in ("", "[]", '{"dependencies": []}', "[" * 100000, "\0"):
        package.write_text(broken)
        assert missing_packages(host, root) is None


@pytest.mark.parametrize(("file", "version", "supported"), [
    ("libvips.so.42.12.5", "8.10", False), ("libvips.so.42.14.1", "8.12", False), ("libvips.so.42.15.0", "8.13", True),
    ("libvips.so.42.18.1", "8.16", True), ("libvips.so.42", None, None),
])  # fmt: skip
def test_libvips_tells_its_version_by_its_name(tmp_path: Path, file: str, version: str | None, supported: bool | None) -> None:
    (tmp_path / file).touch()
    if file != "libvips.so.42":
        (tmp_path / "libvips.so.42").symlink_to(file)
    tool = _library(Host(time.monotonic() + 60), "libvips.so.42", str(tmp_path))
    assert (tool["works"], tool.get("version"), tool.get("version_supported")) == (True, version, supported)


def test_how_long_sidekiq_is_given() -> None:
    def told(argv: str, yaml: str, allowed: float | None) -> tuple[int, bool]:
        unit = {"role": "sidekiq", "_argv": argv.split(), "_env": {}, "stop_timeout_seconds": allowed}
        _pools({"units": [unit], "_dotenv": {}}, yaml)
        return unit["shutdown_timeout_seconds"], unit["stop_short"]

    assert told("bundle exec sidekiq -c 25", "", 15.0) == (25, True)
    assert told("bundle exec sidekiq -c 25", "", 90.0) == (25, False)
    assert told("bundle exec sidekiq -c 25", "", None) == (25, False)
    assert told("bundle exec sidekiq -c 25", "", 0.0) == (25, True)
    assert told("bundle exec sidekiq -t 120", ":timeout: 30\n", 90.0) == (120, True)
    assert told("bundle exec sidekiq", ":concurrency: 5\n:timeout: 10\n", 15.0) == (10, False)
