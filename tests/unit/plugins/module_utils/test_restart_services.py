# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis that keeps nothing on disk is not restarted: its configuration file says so, and its last word counts."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.run import new_steps
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import restart_services


@pytest.mark.parametrize(
    ("text", "keeps_nothing"),
    [
        ('save ""\nappendonly no\n', True),
        ('save ""\n', True),
        ('save 900 1\nsave ""\n', True),
        ('save ""\nsave 900 1\n', False),
        ('save ""\nappendonly yes\n', False),
        ("appendonly no\n", False),
        ('# save ""\n', False),
        ('SAVE ""\nAPPENDONLY NO\n', True),
        ("", False),
    ],
)
def test_whether_a_redis_keeps_anything(tmp_path: pathlib.Path, text: str, keeps_nothing: bool) -> None:
    path = tmp_path / "redis.conf"
    path.write_text(text)
    change = Change(new_steps([{"fix": "restart_services"}])[0], None, {}, {}, {})
    unit = {"name": "redis-server.service", "_argv": ["/usr/bin/redis-server", str(path), "--supervised", "systemd"]}
    assert restart_services._keeps_nothing(change, unit) is keeps_nothing
    assert restart_services._keeps_nothing(change, {**unit, "_argv": ["/usr/bin/redis-server", "*:6379"]}) is False
