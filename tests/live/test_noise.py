# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A healthy server stays clear whatever strangers send it and other servers do: scanners, wrong names and tokens, dead and slow remotes."""

from __future__ import annotations

import time

from pathlib import Path

import pytest

from live import SUITES, Box, diagnose
from test_faults import summary

# With words of real faults where a stranger can write them.
SCANNED = (
    "/wp-login.php /.env /.git/config /phpmyadmin/index.php /xmlrpc.php /cgi-bin/luci /actuator/health /owa/ /.aws/credentials "
    "/vendor/phpunit /PG::ConnectionBad /packs/js/none.js /system/none.png /%ff%fe /%00 /?q=Redis::CannotConnectError /api/v1/statuses/1 "
    "/api/v1/accounts/no%20space%20left%20on%20device"
).split()
ATTACK = r"""
ask() { curl -sk -m 20 -o /dev/null --resolve mastodon.test:443:127.0.0.1 "$@"; }
for path in SCANNED; do for n in 1 2 3; do ask "https://mastodon.test$path"; done; done
for n in 1 2 3 4 5; do
  curl -sk -o /dev/null -H 'Host: other.example' https://127.0.0.1/
  curl -sk -o /dev/null http://127.0.0.1/
  ask -H 'Authorization: Bearer wrong' -d status=hello https://mastodon.test/api/v1/statuses
  ask -H 'Authorization: Bearer TOKEN' -F 'file=@/etc/hostname;filename=a.png' https://mastodon.test/api/v2/media
  ask -H 'User-Agent: PG::UndefinedColumn: ERROR: column does not exist' -H 'X-Forwarded-For: 10.0.0.1, ::1' https://mastodon.test/
  ask -m 1 'https://mastodon.test/slow?seconds=3'
  printf 'GET / HTTP/1.1\r\nHost: [\r\n\r\n' | timeout 2 openssl s_client -quiet -connect 127.0.0.1:443 >/dev/null 2>&1
done
true
"""
# One accepts and never answers, one hangs up.
REMOTE = """
import socket, threading, time
silent, rude = socket.create_server(("127.0.0.1", 9701)), socket.create_server(("127.0.0.1", 9702))
def hang_up():
    while True:
        rude.accept()[0].close()
threading.Thread(target=hang_up, daemon=True).start()
kept = []
while True:
    kept.append(silent.accept())
"""


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_noise_is_no_fault(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        box.put("/run/remote.py", REMOTE)
        box.run("systemd-run --quiet --unit=remote python3 /run/remote.py")
        for port in (9701, 9702, 9703):  # slow, rude, dead
            inbox = f"http://127.0.0.1:{port}/inbox"
            box.enqueue("ActivityPub::DeliveryWorker", "{}", 1, inbox, queue="push", count=3)
        box.enqueue("ActivityPub::DeliveryWorker", "{}", 1, "https://gone.invalid/inbox", queue="push", count=3)
        box.enqueue("ActivityPub::DeliveryWorker", "{}", 1, "https://127.0.0.1/inbox", queue="push", count=3)
        box.run(ATTACK.replace("SCANNED", " ".join(f"'{path}'" for path in SCANNED)).replace("TOKEN", "standin-posting-token"), timeout=300)
        for number in range(10):
            assert box.post(f"ordinary {number}").status == 200
        time.sleep(12)  # the slow ones have ended, and Sidekiq has told of itself
        diagnosis, output = diagnose(box, tmp_path)
        host = diagnosis["hosts"][box.name]
        assert (host["verdict"], host["findings"], host["unknown"]) == ("clear", [], []), summary(host) + output[-2000:]
        assert [each["id"] for each in host["noise"]] == ["not_a_server_fault"], host["noise"]
        assert "unclassified" not in host, host["unclassified"]
