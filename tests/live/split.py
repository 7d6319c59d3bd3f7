# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance on three hosts: web and proxy, Sidekiq and streaming, PostgreSQL and Redis with nothing of Mastodon."""

from __future__ import annotations

import contextlib
import json

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from box import DB_PASSWORD
from live import ROOT, Box, ansible, inventory


class Split(NamedTuple):
    web: Box
    worker: Box
    stores: Box

    def diagnose(
        self, folder: Path, *arguments: str | Path, playbook: str = "diagnose.yml", also: tuple[Box, ...] = ()
    ) -> tuple[dict[str, Any], str]:
        """The diagnosis of all three, and of others of the instance, and all that was printed."""
        given = ["-i", inventory(folder, *self, *also), "-e", f"mastodon_report_dir={folder / 'report'}", *arguments]
        done = ansible(ROOT / "playbooks" / playbook, *given, timeout=600)
        report = folder / "report" / "diagnosis.json"
        assert report.exists(), done.stdout
        return json.loads(report.read_text()), done.stdout


def roots(diagnosis: dict[str, Any]) -> list[tuple[str, str]]:
    """(where, id) of every root cause; "fleet" for what is between hosts."""
    found = [(name, each) for name, host in diagnosis["hosts"].items() for each in host["findings"]]
    found += [("fleet", each) for each in diagnosis["fleet"]["findings"]]
    return sorted((name, each["id"]) for name, each in found if each["rank"] == 1)


def caused(diagnosis: dict[str, Any], box: Box) -> dict[str, str]:
    """What is found on a host and by what it is explained."""
    return {each["id"]: each["explained_by"] for each in diagnosis["hosts"][box.name]["findings"]}


def off(box: Box, *units: str) -> None:
    # One that was asked to stop while its store went away ends with an error: that is no fault of the instance.
    box.run(f"systemctl disable --now {' '.join(units)}; systemctl reset-failed")


@contextlib.contextmanager
def pair(suite: str) -> Iterator[tuple[Box, Box]]:
    """Two boxes that are whole servers of one instance, with the stores of the first; both take posts."""
    with Box.start(suite) as first, Box.start(suite) as second:
        second.use_stores_of(first)
        first.ready()
        second.ready()
        yield first, second


@contextlib.contextmanager
def started(suite: str) -> Iterator[Split]:
    """Three boxes that are one instance, ready to take posts."""
    with Box.start(suite) as web, Box.start(suite) as worker, Box.start(suite) as stores:
        hosts = Split(web, worker, stores)
        for box in hosts:
            box.wait_for_services()
        streaming = [unit.removesuffix(".service") for unit in web.streaming_units] + ["mastodon-streaming"]
        streaming = [f"'{unit}'" for unit in dict.fromkeys(streaming)]
        off(stores, "mastodon-web", "mastodon-sidekiq", *streaming, "nginx")
        stores.run("rm -rf /home/mastodon /etc/systemd/system/mastodon-*; systemctl daemon-reload; systemctl reset-failed")
        stores.run("redis-cli flushall")
        stores.serve(web, worker)
        for box in (web, worker):
            box.drop_stores()
            box.set_env(DB_HOST=stores.address, DB_PASS=DB_PASSWORD, REDIS_HOST=stores.address)
            box.stores = stores.address
        off(web, "mastodon-sidekiq", *streaming)
        web.run(f"grep -rl 127.0.0.1:4000 /etc/nginx | xargs sed -i 's/127.0.0.1:4000/{worker.address}:4000/'")
        web.run("systemctl restart nginx mastodon-web")
        off(worker, "mastodon-web", "nginx")
        worker.set_env(BIND="0.0.0.0")
        worker.run(f"systemctl restart mastodon-sidekiq {streaming[0]}")
        web.accepts_posts()
        yield hosts
