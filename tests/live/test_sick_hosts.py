# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts so sick that tools hang or have no room: the facts come back in time, and what can be known is said."""

from __future__ import annotations

import time

from pathlib import Path

import pytest

from live import ONE_SUITE, Box, diagnose

GATHER_TIMEOUT_SECONDS = 6.0
MARGIN_SECONDS = 2.0


def test_frozen_servers_slow_nothing_down(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        box.run("pkill -STOP -u postgres postgres; pkill -STOP redis-server; pkill -STOP nginx")
        begin = time.monotonic()
        diagnosis, output = diagnose(box, tmp_path, "-e", f"mastodon_gather_timeout={GATHER_TIMEOUT_SECONDS}")
        wall = time.monotonic() - begin
        host = diagnosis["hosts"][box.name]
        print(f"frozen PostgreSQL, Redis and nginx: facts in {host['seconds']:.1f} s of {GATHER_TIMEOUT_SECONDS} s, whole run {wall:.1f} s")
        assert host["seconds"] <= GATHER_TIMEOUT_SECONDS + MARGIN_SECONDS, output
        states = {name: probe["state"] for name, probe in host["probes"].items()}
        assert {name for name, state in states.items() if state == "ok"} >= set(states) - {"database", "redis", "sidekiq"}, states
        found = {finding["id"] for finding in host["findings"] if finding["rank"] == 1}
        assert found == {"db_connection_refused", "redis_down"}, host["findings"]


def test_hung_disk_costs_one_subset(tmp_path: Path) -> None:
    """A FIFO where a file is expected hangs whoever opens it; nobody of ours does."""
    with Box.start("bookworm") as box:
        box.ready()
        box.run("mv /home/mastodon/live/public/packs/manifest.json /tmp/ && mkfifo /home/mastodon/live/public/packs/manifest.json")
        diagnosis, output = diagnose(box, tmp_path)
        host = diagnosis["hosts"][box.name]
        assert host["probes"]["assets"]["state"] == "failed" and "not a regular file" in host["probes"]["assets"]["reason"], output
        assert [finding["id"] for finding in host["findings"] if finding["rank"] == 1] == [], host["findings"]


SILENT = """
echo nameserver 127.0.0.1 > /etc/resolv.conf
cat >> /home/mastodon/live/.env.production <<END
S3_ENABLED=true
S3_BUCKET=media
S3_ENDPOINT=https://media.storage.example
END
systemd-run -q /usr/bin/python3 -c 'import socket, time
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.bind(("127.0.0.1", 53))
time.sleep(600)'
systemctl restart mastodon-web mastodon-sidekiq
"""


@pytest.mark.thorough
def test_a_name_server_that_says_nothing_costs_no_facts(tmp_path: Path) -> None:
    """The C library asks it for ten seconds and more; the tools that make thumbnails are known all the same."""
    with Box.start("trixie") as box:
        box.ready()
        box.run(SILENT)
        diagnosis, output = diagnose(box, tmp_path)
        host = diagnosis["hosts"][box.name]
        media = host["probes"]["media"]
        print(f"a silent name server: media in {media['seconds']:.1f} s, {media['reason']}")
        assert media["state"] == "ok" and "S3_ENDPOINT could not be told" in media["reason"], output
        assert "s3_failure" not in {finding["id"] for finding in host["findings"]}, host["findings"]


@pytest.mark.parametrize("suite", ONE_SUITE)
def test_every_writable_place_filled_to_the_last_byte(suite: str, tmp_path: Path) -> None:
    """/ with home, /var/tmp and all databases on it, and /tmp: Ansible has nowhere to put a module but memory."""
    with Box.start(suite, small_root="96m") as box:
        box.ready()
        box.run("mount | grep -q ' /tmp ' || mount -t tmpfs -o size=1m tmpfs /tmp; mount -o remount,size=1m /tmp")
        for directory in ("/tmp", "/var/tmp"):
            box.run(f"dd if=/dev/zero of={directory}/filler bs=64k; dd if=/dev/zero of={directory}/filler2 bs=1 count=8192", check=False)
        free = box.run("for d in / /tmp /var/tmp /root /home/mastodon; do df --output=avail -B1 $d | tail -1; done").out.split()
        assert free == ["0"] * 5
        for number in range(6):
            box.post(f"no room {number}")
        diagnosis, output = diagnose(box, tmp_path)
        host = diagnosis["hosts"][box.name]
        roots = {finding["id"] for finding in host["findings"] if finding["rank"] == 1}
        assert roots == {"disk_full"}, output
        # PostgreSQL may refuse even a question: it has no room for the file it would answer from.
        states = {name: probe["state"] for name, probe in host["probes"].items()}
        assert {state for name, state in states.items() if name != "database"} == {"ok"}, host["probes"]
