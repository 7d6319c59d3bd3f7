# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two web servers of one instance share a database: what is done once is done once, and one of them always answers."""

from __future__ import annotations

import json
import re
import threading
import time

from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from live import FAULTS, ROOT, Box, ansible, inventory
from proof import prove
from split import pair

LIVE = "/home/mastodon/live"
PACKS = f"cd {LIVE}/public && find packs assets -type f -exec sha256sum {{}} + | sort"
# Workers of Puma, not its master: a hot restart keeps the number of that.
PIDS = "pgrep -f '^puma: cluster worker'; systemctl show -p MainPID --value mastodon-sidekiq 'mastodon-streaming@4000'"
MIGRATED = "cat /var/lib/fediops.mastodon/runs/*/*/log 2>/dev/null | grep -c 'CreatePollsForTest: migrated'"
PAUSE_SECONDS = 0.15  # more often would take the processor from the servers


class Watch:
    """Asks every box for /health all the time, as a load balancer would."""

    def __init__(self, *boxes: Box) -> None:
        self.seen: dict[str, list[tuple[float, float, bool]]] = {box.name: [] for box in boxes}
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._look, args=(box,)) for box in boxes]

    def _look(self, box: Box) -> None:
        while not self._end.is_set():
            begin = time.monotonic()
            try:
                healthy = box.http("GET", "/health", timeout=5).status == 200
            except OSError:
                healthy = False
            self.seen[box.name].append((begin, time.monotonic(), healthy))
            time.sleep(PAUSE_SECONDS)

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def down(self, name: str) -> list[tuple[float, float]]:
        return [(begin, end) for begin, end, healthy in self.seen[name] if not healthy]

    def both_down(self) -> list[float]:
        """When two questions failed whose times overlap."""
        one, other = (self.down(name) for name in self.seen)
        return [begin for begin, end in one if any(start <= end and begin <= stop for start, stop in other)]


def play(folder: Path, *arguments: str | Path) -> tuple[dict[str, Any], str]:
    """Remediate both; their part of the diagnosis, and all that was printed."""
    done = ansible(*arguments, "-e", f"mastodon_report_dir={folder / 'report'}", timeout=600)
    assert done.returncode == 0, done.stdout
    hosts: dict[str, Any] = json.loads((folder / "report" / "diagnosis.json").read_text())["hosts"]
    return hosts, done.stdout


def steps(host: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["fix"], step["state"]) for step in host["remediation"]["steps"]]


@pytest.mark.thorough
def test_what_is_shared_is_done_once_and_never_are_both_down(tmp_path: Path) -> None:
    with pair("trixie") as (first, second):
        # The one that migrates is not the one that has the database.
        hosts = ["-i", inventory(tmp_path, second, first)]
        plant, remediate = FAULTS / "plant.yml", ROOT / "playbooks" / "remediate.yml"

        assert ansible(plant, *hosts, "-e", "fault=migration_file_added").returncode == 0
        before = {box.name: box.run(PIDS).out.split() for box in (first, second)}
        with Watch(first, second) as watch:
            cured, output = play(tmp_path, remediate, *hosts, "-e", "mastodon_remediate_impact=schema")
        assert steps(cured[second.name]) == [("migrate_database", "kept")], output
        assert steps(cured[first.name]) == [("restart_services", "kept")], output
        assert cured[first.name]["remediation"]["steps"][0]["follows"] == second.name, output
        assert {host["verdict"] for host in cured.values()} == {"clear"}, output
        assert sum(int(box.run(MIGRATED, check=False).out) for box in (first, second)) == 1
        for box in (first, second):
            after = box.run(PIDS).out.split()
            assert len(after) == 4 and not set(after) & set(before[box.name]), (before, after)
            assert len(watch.seen[box.name]) > 50
        assert watch.both_down() == []
        prove(first)
        prove(second)

        assert ansible(plant, *hosts, "-e", "fault=assets_not_rebuilt").returncode == 0
        for box in (first, second):
            box.run(f"echo 'i {{ color: red }}' >>{LIVE}/app/javascript/styles/application.css")
        built = ["-e", "mastodon_remediate_impact=change", "-e", f"mastodon_build_host={first.name}"]
        with Watch(first, second) as watch:
            cured, output = play(tmp_path, remediate, *hosts, *built)
        assert steps(cured[second.name]) == [("copy_assets", "kept")], output
        assert {state for _fix, state in steps(cured[first.name])} <= {"kept"}, output
        assert {host["verdict"] for host in cured.values()} == {"clear"}, output
        assert first.run(PACKS).out == second.run(PACKS).out
        assert watch.both_down() == []
        for box in (first, second):
            styles = re.findall(r'href="([^"]+application[^"]*\.css)"', box.get_page("/").body)
            assert "color: red" in box.get_page(re.sub(r"^https?://[^/]+", "", styles[0])).body
        prove(second)
        _hosts, output = play(tmp_path, remediate, *hosts, *built)
        assert output.count("changed=0") == 2, output
