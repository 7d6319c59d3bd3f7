# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are healthy, but not as the manual has it: nothing is found. And strange ones, where nothing may be guessed."""

from __future__ import annotations

import time

from collections.abc import Callable
from pathlib import Path

import pytest

from live import Box, diagnose

SOCKET = "/home/mastodon/live/tmp/sockets/puma-with-a-rather-long-name.sock"


def long_socket_path(box: Box) -> None:
    """Puma writes its title, which holds the path, over its own environment in /proc."""
    box.run(["install", "-d", "-o", "mastodon", "-g", "mastodon", "/home/mastodon/live/tmp/sockets"])
    box.put("/etc/systemd/system/mastodon-web.service.d/x.conf", f"[Service]\nEnvironment=SOCKET={SOCKET}\n")
    box.run(f"sed -i 's#server 127.0.0.1:3000[^;]*#server unix:{SOCKET}#' /etc/nginx/sites-available/mastodon")
    # nginx must reach the socket through the home of the app's user.
    box.run("systemctl daemon-reload && systemctl restart mastodon-web && systemctl reload nginx")
    box.run(f"until [ -S {SOCKET} ]; do sleep 0.2; done; chmod 777 {SOCKET}; sleep 32")


def lost_and_found(box: Box) -> None:
    box.run("install -d -m 0700 -o root /home/mastodon/live/public/system/lost+found")


def settings_readable_by_a_further_group(box: Box) -> None:
    box.run("groupadd keys && usermod -aG keys mastodon && chown root:keys /home/mastodon/live/.env.production")


def switched_off_leftover_unit(box: Box) -> None:
    box.run("cd /etc/systemd/system && sed 's/3000/3100/' mastodon-web.service >mastodon-web-blue.service && systemctl daemon-reload")


def packs_rebuilt_and_reloaded(box: Box) -> None:
    time.sleep(4)
    box.run("touch /home/mastodon/live/public/packs/manifest.json /home/mastodon/live/public/packs/.vite/manifest.json")
    box.run("systemctl reload mastodon-web; sleep 8")
    box.wait_for_services()


def version_file_touched(box: Box) -> None:
    box.run("touch /home/mastodon/live/lib/mastodon/version.rb")


def checkout_behind_a_link(box: Box) -> None:
    box.run("systemctl stop mastodon-web mastodon-sidekiq mastodon-streaming@4000")
    box.run("mkdir /home/mastodon/releases && mv /home/mastodon/live /home/mastodon/releases/1 && ln -s releases/1 /home/mastodon/live")
    box.run("systemctl start mastodon-web mastodon-sidekiq mastodon-streaming@4000")
    box.ready()


def web_started_through_a_shell(box: Box) -> None:
    command = "/bin/sh -c 'cd /home/mastodon/live; exec /home/mastodon/.rbenv/shims/bundle exec puma -C config/puma.rb'"
    box.put("/etc/systemd/system/mastodon-web.service.d/x.conf", f'[Service]\nExecStart=\nExecStart={command}\n')
    box.run("systemctl daemon-reload && systemctl restart mastodon-web")
    box.wait_for_services()


# What leaves each other alone is together in one server; each alone, should that hide anything, in the thorough run.
TOGETHER: list[tuple[Callable[[Box], None], ...]] = [
    (long_socket_path,),
    (lost_and_found, settings_readable_by_a_further_group, switched_off_leftover_unit, packs_rebuilt_and_reloaded, version_file_touched),
    (checkout_behind_a_link, web_started_through_a_shell),
]
ALONE = [pytest.param((make,), marks=pytest.mark.thorough) for group in TOGETHER if len(group) > 1 for make in group]


@pytest.mark.parametrize("makes", [*TOGETHER, *ALONE], ids=lambda makes: "+".join(make.__name__ for make in makes))
def test_healthy_all_the_same(makes: tuple[Callable[[Box], None], ...], tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        for make in makes:
            make(box)
        diagnosis, output = diagnose(box, tmp_path)
        host = diagnosis["hosts"][box.name]
        assert (host["verdict"], host["unknown"]) == ("clear", []), output


def test_web_without_a_unit_is_seen_by_the_proxy(tmp_path: Path) -> None:
    with Box.start("bookworm") as box:
        box.ready()
        box.run("systemctl disable --now mastodon-web; rm /etc/systemd/system/mastodon-web.service; systemctl daemon-reload")
        diagnosis, output = diagnose(box, tmp_path)
        roots = [finding["id"] for finding in diagnosis["hosts"][box.name]["findings"] if finding["rank"] == 1]
        assert roots == ["web_down_502"], output


def test_a_checkout_that_nothing_runs_is_not_diagnosed_by_guess(tmp_path: Path) -> None:
    """The clone beside a compose file: DB_HOST=db means nothing on the host itself."""
    with Box.start("trixie") as box:
        box.ready()
        box.set_env(DB_HOST="db", REDIS_HOST="redis")
        box.run("systemctl disable --now mastodon-web mastodon-sidekiq mastodon-streaming mastodon-streaming@4000 nginx")
        box.run("rm /etc/systemd/system/mastodon-*; systemctl daemon-reload")
        diagnosis, output = diagnose(box, tmp_path)
        host = diagnosis["hosts"][box.name]
        assert (host["verdict"], host["findings"]) == ("incomplete", []), output
        assert any("no unit or process runs the Mastodon in /home/mastodon/live" in each["reason"] for each in host["unknown"])
        assert "failed=1" in output


def test_nothing_that_the_app_names_runs_as_root(tmp_path: Path) -> None:
    """A checkout owned by a number without a name, as images leave it behind, that names a program of its own for ffmpeg."""
    with Box.start("trixie") as box:
        box.ready()
        box.put("/srv/mark", "#!/bin/sh\nid -u >>/tmp/ran-as\n", 0o755)
        box.set_env(FFMPEG_BINARY="/srv/mark", FFPROBE_BINARY="/srv/mark")
        for unit in ("mastodon-web", "mastodon-sidekiq"):
            box.put(f"/etc/systemd/system/{unit}.service.d/x.conf", "[Service]\nUser=root\n")
        box.run("systemctl daemon-reload && systemctl restart mastodon-web mastodon-sidekiq")
        box.run("chown -R 991:991 /home/mastodon/live && chmod 1777 /tmp")
        diagnose(box, tmp_path)
        ran = box.run("cat /tmp/ran-as 2>/dev/null", check=False).out.split()
        assert "0" not in ran, ran


def test_streaming_that_only_its_shim_starts_is_meant_to_run(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        off = "systemctl disable mastodon-streaming@4000 && systemctl enable mastodon-streaming && systemctl stop mastodon-streaming@4000"
        box.run(off)
        diagnosis, output = diagnose(box, tmp_path)
        found = {finding["id"]: finding["fix"] for finding in diagnosis["hosts"][box.name]["findings"] if finding["rank"] == 1}
        assert {name: fix["name"] for name, fix in found.items()} == {"streaming_down": "start_services"}, output
