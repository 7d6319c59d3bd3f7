# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one pass of the watch costs on a host: seconds, processor, memory; printed, never asserted.

.venv/bin/python tests/bench/bench_monitor.py [PASSES]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
sys.path.insert(0, str(ROOT / "tests" / "testbed"))

from box import SUITES, Box  # noqa: E402

ENVIRONMENT = dict(
    os.environ,
    ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
    ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".ansible" / "collections"),
    ANSIBLE_NOCOLOR="1",
)
# Starts a pass and adds up, fifty times a second, the memory of its processes that they do not share (PSS).
MEASURE = """
import glob, json, subprocess, time
begin = time.monotonic()
started = subprocess.Popen(["systemctl", "start", "fediops-mastodon-watch"])
peak = 0
while started.poll() is None:
    total = 0
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if b"watch.pyz" in open(path, "rb").read():
                lines = open(path[:-7] + "smaps_rollup").read().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    peak = max(peak, total)
    time.sleep(0.02)
print(json.dumps([time.monotonic() - begin, started.returncode, peak / 1024]))
"""
# A hundred thousand requests of the last minute, as nginx writes them.
BUSY = """
import time
now = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
line = '10.0.0.1 - - [%s] "GET /api/v1/timelines/home HTTP/2.0" 200 1234 "-" "client"\\n' % now
open("/var/log/nginx/access.log", "a").write(line * 100000)
"""


def bench(suite: str, folder: Path, passes: int) -> None:
    with Box.start(suite) as box:
        box.ready()
        inventory = folder / "inventory.json"
        variables = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
        inventory.write_text(json.dumps({"all": {"hosts": {box.name: variables}}}))
        command = [str(BIN / "ansible-playbook"), str(ROOT / "playbooks" / "monitor.yml"), "-i", str(inventory)]
        done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stdout)
        box.run("systemctl stop fediops-mastodon-watch.timer")
        for what in ("idle", "busy"):
            seconds, peaks = [], []
            for _time in range(passes):
                if what == "busy":
                    box.run(["python3", "-c", BUSY])
                took, code, peak = json.loads(box.run(["python3", "-c", MEASURE]).out)
                if code:
                    sys.exit(box.journal("fediops-mastodon-watch"))
                seconds.append(took)
                peaks.append(peak)
            memory = f"{max(peaks):.0f} MB at most"
            print(
                f"{suite}: {what}: one pass median {statistics.median(seconds):.2f} s (max {max(seconds):.2f}, {passes} passes), {memory}"
            )
        program, state = "/usr/local/lib/fediops-mastodon/watch.pyz", "/var/lib/fediops.mastodon/monitor/state.json"
        size, kept = box.run(f"stat -c %s {program} {state}").out.split()
        print(f"{suite}: program {int(size) / 1000:.0f} kB, state {kept} B")


def main() -> None:
    passes = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as temporary:
        for suite in SUITES:
            bench(suite, Path(temporary), passes)


if __name__ == "__main__":
    main()
