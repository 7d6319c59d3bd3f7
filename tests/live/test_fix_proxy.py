# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx waits longer and logs more after a fix, and is byte for byte what it was after the rollback."""

from __future__ import annotations

import time

from pathlib import Path

import pytest

from live import SUITES, Box
from one_fix import apply, foresee, module, plant, roll_back
from proof import differences, picture, prove

SITE = "/etc/nginx/sites-available/mastodon"
LOG = "/var/log/nginx/mastodon_requests.log"
ENV = "/home/mastodon/live/.env.production"


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_slow_answers_arrive_and_requests_are_logged(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path / "plant", "proxy_waits_too_briefly")
        assert box.get_page("/slow?seconds=5").status == 504
        before, text = picture(box), box.get(SITE)

        for fix in ("raise_proxy_timeouts", "enable_request_log"):
            foreseen = foresee(box, tmp_path, fix)
            assert (foreseen["state"], differences(before, picture(box))) == ("applied", []), foreseen

        step, timeouts = apply(box, tmp_path, "raise_proxy_timeouts")
        assert (step["state"], step["problems"], step.get("not_in_effect", "")) == ("kept", [], ""), step
        begin = time.monotonic()
        assert box.get_page("/slow?seconds=5").status == 200 and time.monotonic() - begin >= 5
        assert box.get(SITE) == text.replace(
            "proxy_pass http://backend;", "proxy_read_timeout 120s;\n    proxy_send_timeout 120s;\n    proxy_pass http://backend;"
        )

        step, log = apply(box, tmp_path, "enable_request_log")
        assert (step["state"], step["problems"], step.get("not_in_effect", "")) == ("kept", [], ""), step
        box.run("systemctl stop mastodon-web; systemctl start --no-block mastodon-web")
        assert box.get_page("/about?token=secret-of-a-visitor").status == 502
        box.ready()
        answer = box.get_page("/api/v1/timelines/home?since_id=1")
        lines = box.get(LOG).splitlines()
        assert '"GET /about HTTP/1.1" 502' in lines[0] and 'upstream_status="502" ' in lines[0] and 'request_id="-"' in lines[0], lines
        assert f'request_id="{answer.headers["x-request-id"]}"' in lines[-1] and 'upstream_status="200"' in lines[-1], lines
        assert "secret-of-a-visitor" not in "".join(lines)
        assert "GET /about" in box.get("/var/log/nginx/access.log"), "what was logged before is logged no more"
        facts = module(box, tmp_path, "mastodon_facts")["ansible_facts"]["mastodon"]
        assert facts["proxy"]["request_log"] == {"path": LOG, "format": "mastodon", "complete": True}, facts["proxy"]
        assert facts["proxy"]["read_timeout_seconds"] == facts["proxy"]["send_timeout_seconds"] == 120
        total = int(box.run("cat /var/log/nginx/access.log | wc -l").out)
        assert facts["logs"]["proxy_requests"]["total"] <= total, "requests that stand in two logs were counted twice"
        assert box.run(["logrotate", "-d", "/etc/logrotate.d/nginx"]).out.count(LOG) > 0

        for fix in ("raise_proxy_timeouts", "enable_request_log"):
            step, _run = apply(box, tmp_path, fix)
            assert (step["state"], step["changes"]) == ("nothing", []), step

        for run in (log, timeouts):
            assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        assert (differences({**before, "units": 0}, {**picture(box), "units": 0}), box.get(SITE)) == ([], text)
        assert box.get_page("/slow?seconds=5").status == 504


def test_what_nginx_refuses_is_taken_back_at_once(tmp_path: Path) -> None:
    """Sites that are read before conf.d cannot use a format from there; nginx says so, and not a byte of ours stays."""
    with Box.start("trixie") as box:
        box.ready()
        last = "s,include .*sites-enabled/.*,&\\n\\tinclude /etc/nginx/conf.d/*.conf;,"
        box.run(f"sed -i -e '/include .*conf.d/d' -e '{last}' /etc/nginx/nginx.conf")
        assert box.run("nginx -t && nginx -T 2>&1 | grep -c 'include /etc/nginx/conf.d'").out.endswith("1\n")
        before = picture(box)
        step, _run = apply(box, tmp_path, "enable_request_log")
        assert step["state"] == "failed" and 'nginx refused the new configuration' in step["reason"], step
        assert "unknown log format" in step["reason"] and differences(before, picture(box)) == [], step

        box.run(f"echo 'no_such_directive;' >> {SITE}")
        before = picture(box)
        step, _run = apply(box, tmp_path, "raise_proxy_timeouts")
        assert step["state"] == "refused" and "no_such_directive" in step["reason"] and "nginx -t" in step["reason"], step
        assert differences(before, picture(box)) == []


@pytest.mark.thorough
def test_nginx_may_pass_and_reads_no_secret(tmp_path: Path) -> None:
    """The closed home was all that kept a file that everybody may read; nginx gets through, and not to that."""
    with Box.start("trixie") as box:
        box.ready()
        box.run(f"chmod 750 /home/mastodon; chmod 644 {ENV}")
        assert box.get_page("/robots.txt").status != 200
        before = picture(box)
        foreseen = foresee(box, tmp_path, "open_home")
        assert (foreseen["state"], differences(before, picture(box))) == ("applied", []), foreseen
        step, run = apply(box, tmp_path, "open_home")
        assert (step["state"], step["problems"], step.get("not_in_effect", "")) == ("kept", [], ""), step
        assert box.get_page("/robots.txt").status == 200
        assert box.run(["stat", "-c", "%a", "/home/mastodon", ENV]).out.split() == ["751", "640"]
        for command in (f"cat {ENV}", "ls /home/mastodon"):
            assert "Permission denied" in box.run(f"runuser -u www-data -- {command} 2>&1", check=False).out, command
        prove(box)
        step, _run = apply(box, tmp_path, "open_home")
        assert (step["state"], step["changes"]) == ("nothing", []), step
        assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        assert differences(before, picture(box)) == []

        box.run("usermod -aG mastodon www-data; chmod 700 /home/mastodon; systemctl restart nginx")
        step, _run = apply(box, tmp_path, "open_home")
        assert step["state"] == "refused" and "is in the group mastodon" in step["reason"], step
