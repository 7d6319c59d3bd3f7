# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What commands print over several lines is told once it is whole, and of nothing else."""

from __future__ import annotations

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils._ldd import Ldd
from ansible_collections.fediops.mastodon.plugins.plugin_utils._redis_cli import RedisCli

GEM = "$ ldd /home/mastodon/live/vendor/bundle/ruby/3.2.0/gems/idn-ruby-0.1.5/lib/idn.so"
LOST = "\tlibidn.so.11 => not found"


@pytest.mark.parametrize(("lines", "told"), [
    (['1) "maxmemory-policy"', '2) "allkeys-lru"'], "maxmemory_policy:allkeys-lru"),
    (['11) "maxmemory-policy"', '12) "noeviction"'], "maxmemory_policy:noeviction"),
    (['2) "maxmemory-policy"', '3) "allkeys-lru"'], ""),
    (['1) "maxmemory-policy"', '3) "allkeys-lru"'], ""),
    (['1) "maxmemory-policy"', "x", '2) "allkeys-lru"'], ""),
    (['1) "x"', '2) "allkeys-lru"'], ""),
    (['1) "maxmemory-policy"', '2) "OOM command not allowed when used memory"'], ""),
])  # fmt: skip
def test_a_setting_of_redis(lines: list[str], told: str) -> None:
    reader = RedisCli()
    assert "".join(map(reader.told, lines)) == told


@pytest.mark.parametrize(("lines", "told"), [
    ([GEM, "\tlibc.so.6 => /lib/libc.so.6 (0x0)", LOST], "libidn.so.11: cannot open shared object file"),
    ([LOST], ""),
    (["$ ldd /usr/bin/ffmpeg", LOST], ""),
    ([GEM, "$ ldd /usr/bin/ffmpeg", LOST], ""),
    ([GEM, "\tlibruby.so.3.2 => not found"], ""),
])  # fmt: skip
def test_a_library_that_a_gem_was_linked_to(lines: list[str], told: str) -> None:
    reader = Ldd()
    assert "".join(map(reader.told, lines)) == told
