# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets planted wherever one can stand on a server: none reaches the facts, a report, or the output of -vvv."""

from __future__ import annotations

import json

from pathlib import Path

import pytest

from live import ONE_SUITE, Box, diagnose

CANARY = "Kanarie{}vogel"


def plant(box: Box) -> list[str]:
    """Plant canaries; every one is a value of its own, so that a leak says where it came from."""
    values = [CANARY.format(number) for number in range(1, 16)]
    unit, file, url, peer, argument, line = values[0], values[1], values[2], values[3], values[4], values[5]
    box.set_env(
        SMTP_PASSWORD=file,
        AWS_SECRET_ACCESS_KEY=values[6],
        DEEPL_API_KEY=values[7],
        CACHE_REDIS_URL=f"redis://:{url}@localhost:6379/0",
        VAPID_PRIVATE_KEY=values[8],
        OTP_SECRET=values[9] * 5,
    )
    box.run(["sh", "-c", f"echo '# old DB_PASS={values[10]}' >>/home/mastodon/live/.env.production"])
    box.put("/etc/mastodon-extra.env", f"S3_TOKEN={peer}\n", 0o600)
    box.put(
        "/etc/systemd/system/mastodon-web.service.d/canary.conf",
        f"[Service]\nEnvironment=LDAP_PASSWORD={unit}\nEnvironmentFile=/etc/mastodon-extra.env\n",
    )
    box.put(
        "/etc/systemd/system/mastodon-sidekiq.service.d/canary.conf",
        "[Service]\nExecStart=\nExecStart=/home/mastodon/.rbenv/shims/bundle exec sidekiq -c 5 -g " + argument + "\n",
    )
    box.run("systemctl daemon-reload")
    box.restart_mastodon()
    box.wait_for_services()
    # Redis refuses the password that nobody set, so Ruby writes errors around the URL; and strangers' lines with words a log can hold.
    box.run("systemctl stop redis-server")
    for number in range(3):
        box.post(f"canary {number}")
    for text in (
        f"RedisClient::CannotConnectError (redis://:{line}@localhost:6379/0)",
        f"PG::ConnectionBad (connection to server failed: Connection refused) password={values[11]}",
        f'Errno::ENOSPC (No space left on device) {{"access_token":"{values[12]}","Authorization":"Bearer {values[13]}"}}',
        f"Errno::EROFS: Read-only file system @ rb_sysopen - /x?token={values[14]}",
    ):
        box.run(
            [
                "systemd-run",
                "--quiet",
                "--wait",
                "--collect",
                "--unit=mastodon-web-canary",
                "--property=SyslogIdentifier=bundle",
                "echo",
                text,
            ]
        )
        box.run(["sh", "-c", 'printf "%s\\n" "$1" >>/var/log/nginx/error.log', "log", f"2026/11/20 09:00:00 [error] 1#1: *1 {text}"])
    box.run("systemctl start redis-server")
    return values


@pytest.mark.parametrize("suite", ONE_SUITE)
def test_no_secret_leaves_the_host(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        values = plant(box)
        real = [
            line.partition("=")[2]
            for line in box.get("/home/mastodon/live/.env.production").splitlines()
            if any(word in line.partition("=")[0] for word in ("SECRET", "_KEY", "SALT", "PASS"))
        ]
        cache = tmp_path / "facts"
        diagnosis, output = diagnose(box, tmp_path, "-vvv", "-e", "ansible_become=false")
        everything = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "report").iterdir()}
        everything["-vvv"] = output
        everything["facts"] = json.dumps(diagnosis)
        assert not cache.exists()
        for name, text in everything.items():
            for value in values + [each for each in real if len(each) >= 8]:
                assert value not in text, f"{value} stands in {name}"
        # The test would prove nothing if the planted lines had not been read at all.
        assert diagnosis["hosts"][box.name]["findings"], output[-2000:]
