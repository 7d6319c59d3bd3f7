# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixes of single settings in one box: foreseen without a trace, in effect, nothing the second time, all back after the rollback."""

from __future__ import annotations

from pathlib import Path

import pytest

from live import Box
from one_fix import apply, foresee, module, roll_back
from proof import differences, picture, prove

ENV = "/home/mastodon/live/.env.production"
CONF = "/etc/redis/redis.conf"
CONTAINER = "this host is a container (docker) and has the clock of the machine it runs on: a time service must keep it there"
FIXES = ("fix_redis_policy", "set_trusted_proxies")


@pytest.mark.thorough
def test_settings_are_mended_and_come_back(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        box.run("redis-cli config set maxmemory 200mb; redis-cli config set maxmemory-policy allkeys-lru; redis-cli config rewrite")
        box.set_env(TRUSTED_PROXY_IP="203.0.113.10")
        before = picture(box, units=False)
        runs = []
        for fix in FIXES:
            seen = picture(box)
            foreseen = foresee(box, tmp_path, fix)
            assert (foreseen["state"], differences(seen, picture(box))) == ("applied", []), foreseen
            step, run = apply(box, tmp_path, fix)
            assert (step["state"], step["problems"], step.get("not_in_effect", "")) == ("kept", [], ""), step
            runs.append(run)
        assert box.redis("CONFIG", "GET", "maxmemory-policy").split()[-1] == "noeviction"
        assert box.run(["grep", "^maxmemory-policy", CONF]).out == "maxmemory-policy noeviction\n"
        assert "TRUSTED_PROXY_IP=203.0.113.10,127.0.0.1,::1\n" in box.get(ENV)
        prove(box)
        for fix in FIXES:
            step, _run = apply(box, tmp_path, fix)
            assert (step["state"], step["changes"]) == ("nothing", []), step
        for run in reversed(runs):
            assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        assert differences(before, picture(box, units=False)) == []
        assert box.redis("CONFIG", "GET", "maxmemory-policy").split()[-1] == "allkeys-lru"

        # Full, it would refuse writes instead; elsewhere it is not ours.
        box.run("redis-cli config set maxmemory 1500kb")
        step, _run = apply(box, tmp_path, "fix_redis_policy")
        assert step["state"] == "refused" and "raise maxmemory first" in step["reason"], step

        # The clock is that of this machine: where somebody keeps it there is nothing to do.
        clock = module(box, tmp_path, "mastodon_facts", gather_subset=["memory"])["ansible_facts"]["mastodon"]["clock"]
        expected = ("nothing", "") if clock["synchronized"] else ("refused", CONTAINER)
        for step in (foresee(box, tmp_path, "sync_clock"), apply(box, tmp_path, "sync_clock")[0]):
            assert (step["state"], step["reason"], step["changes"]) == (*expected, []), step
