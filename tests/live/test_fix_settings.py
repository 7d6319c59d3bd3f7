# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixes of settings in a box, beyond what their faults show (test_remediation): set where they stand, refused where that cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest

from live import SUITES, Box
from one_fix import apply, foresee, roll_back
from proof import differences, picture, prove

STREAMING = {"trixie": "mastodon-streaming@4000.service", "bookworm": "mastodon-streaming.service"}
ENV = "/home/mastodon/live/.env.production"


def drop_in(box: Box, unit: str, text: str, name: str = "override") -> None:
    box.put(f"/etc/systemd/system/{unit}.d/{name}.conf", "[Service]\n" + text)
    box.run(["systemctl", "daemon-reload"])
    box.run(["systemctl", "restart", unit])


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_levels_are_reset_where_they_stand(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        box.set_env(RAILS_LOG_LEVEL="'debug'")
        box.restart_mastodon()
        drop_in(box, STREAMING[suite], "Environment=LOG_LEVEL=silly\n")
        box.wait_for_services()
        before, text = picture(box, units=False), box.get(ENV)
        foreseen = foresee(box, tmp_path, "reset_log_level")
        assert foreseen["state"] == "applied" and differences(before, picture(box, units=False)) == [], foreseen
        step, run = apply(box, tmp_path, "reset_log_level")
        assert (step["state"], step["problems"]) == ("kept", []), step
        assert box.get(ENV) == text.replace("RAILS_LOG_LEVEL='debug'", "RAILS_LOG_LEVEL='info'")
        assert "LOG_LEVEL=info" in box.run(["systemctl", "show", "-p", "Environment", STREAMING[suite]]).out
        prove(box)
        since = box.now()
        assert box.post("quiet").status == 200 and "SELECT" not in box.journal("mastodon-web", since)
        assert apply(box, tmp_path, "reset_log_level")[0]["state"] == "nothing"
        assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        assert differences(before, picture(box, units=False)) == []


@pytest.mark.thorough
def test_what_would_outdo_a_setting_is_named(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        drop_in(box, "mastodon-sidekiq.service", "TimeoutStopSec=20\n", "zzz-last")
        box.put("/etc/default/mastodon", "RAILS_LOG_LEVEL=debug\n")
        drop_in(box, "mastodon-web.service", "EnvironmentFile=/etc/default/mastodon\n")
        box.wait_for_services()
        before = picture(box, units=False)
        for fix, place in (("set_stop_timeout", "zzz-last.conf line 2"), ("reset_log_level", "/etc/default/mastodon line 1")):
            step, _run = apply(box, tmp_path, fix)
            assert step["state"] == "refused" and place in step["reason"], step
        assert differences(before, picture(box, units=False)) == []


@pytest.mark.thorough
def test_sidekiq_gives_its_jobs_back(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        # Sidekiq's own timeout counts, wherever it is told.
        drop_in(box, "mastodon-sidekiq.service", "ExecStart=\nExecStart=/home/mastodon/.rbenv/shims/bundle exec sidekiq -c 10 -t 70\n")
        box.wait_for_services()
        step, run = apply(box, tmp_path, "set_stop_timeout")
        assert step["state"] == "kept" and not step.get("not_in_effect"), step
        assert "TimeoutStopUSec=1min 15s" in box.run(["systemctl", "show", "-p", "TimeoutStopUSec", "mastodon-sidekiq"]).out
        assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        assert "TimeoutStopUSec=15s" in box.run(["systemctl", "show", "-p", "TimeoutStopUSec", "mastodon-sidekiq"]).out
        drop_in(box, "mastodon-sidekiq.service", "")
        assert apply(box, tmp_path, "set_stop_timeout")[0]["state"] == "kept"
        box.wait_for_services()
        box.enqueue("Standin::SleepWorker", 300, count=3)
        box.run("until redis-cli llen queue:default | grep -qx 0; do sleep 0.2; done")
        box.run(["systemctl", "restart", "mastodon-sidekiq"], timeout=90)
        said = box.journal("mastodon-sidekiq")
        assert "Pushed 3 jobs back to Redis" in said and "stop-sigterm" not in said, said
