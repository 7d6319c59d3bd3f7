# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No job is lost: Sidekiq restarted many times under load, as a fix restarts it, and every job looked for in its log.

.venv/bin/python tests/bench/bench_restarts.py [RESTARTS] [trixie|bookworm] [drained|plain]

`plain` restarts by systemctl alone, for comparison: TimeoutSec=15 of the unit has Sidekiq killed before it pushes long jobs back.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import time

from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "live"))

from live import ROOT, Box  # noqa: E402

CODE = "/root/collections"
UNIT = "mastodon-sidekiq.service"
# Five jobs a second, as long as Mastodon's are and a few that outlast Sidekiq's own 25 s; 10 threads are about a third busy.
LOAD = """
import json, os, random, secrets, subprocess, sys, time
random.seed(7)
with open("/root/enqueued", "w") as ledger:
    while not os.path.exists("/root/enough"):
        jobs = []
        for _ in range(5):
            now, jid = time.time(), secrets.token_hex(12)
            seconds = random.choices((0.05, 0.5, 3, 12, 30), (74, 21, 4.4, 0.5, 0.1))[0]
            job = {"class": "Standin::SleepWorker", "args": [seconds], "queue": "default", "retry": True, "version": "7.3.2"}
            jobs.append(json.dumps(dict(job, jid=jid, created_at=now, enqueued_at=now)))
            ledger.write(jid + "\\n")
        ledger.flush()
        subprocess.run(["redis-cli", "lpush", "queue:default", *jobs], stdout=subprocess.DEVNULL, check=True)
        time.sleep(1)
"""
RESTARTS = """
import random, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.fediops.mastodon.plugins.module_utils._change import sidekiq, units
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
unit, number, how = sys.argv[2], int(sys.argv[3]), sys.argv[4]
host = Host(time.monotonic() + 86400)
random.seed(11)
for at in range(number):
    begin = time.monotonic()
    if how == "drained":
        units.restart(host, "sidekiq", unit, lambda text: None)
    else:
        subprocess.run(["systemctl", "restart", unit], check=True)
    stopped = time.monotonic()
    while not sidekiq.is_up(host, units.processes(host, unit)):
        time.sleep(0.2)
    print("%.1f %.1f" % (stopped - begin, time.monotonic() - stopped), flush=True)
    time.sleep(random.uniform(0.2, 3))
"""


class Outcome(NamedTuple):
    """Jobs, and what became of them; seconds of each restart until systemd was done."""

    enqueued: int
    done: int
    lost: int
    twice: int
    seconds: list[float]


def put_code(box: Box) -> None:
    """The collection's code for the host, where Python in the box finds it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(ROOT / "plugins" / "module_utils", "collections/ansible_collections/fediops/mastodon/plugins/module_utils")
    box.container.put_archive("/root", packed.getvalue())


def restarts_under_load(box: Box, number: int, how: str = "drained", tell: bool = False) -> Outcome:
    """Restart Sidekiq that often while jobs come in, let it finish, and count."""
    put_code(box)
    box.put("/root/load.py", LOAD)
    box.put("/root/restarts.py", RESTARTS)
    since = box.now()
    box.redis("sadd", "queues", "default")
    box.run("setsid python3 /root/load.py >/root/load.log 2>&1 </dev/null &")
    command = ["docker", "exec", box.name, "python3", "/root/restarts.py", CODE, UNIT, str(number), how]
    seconds = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        for at, line in enumerate(running.stdout or (), 1):
            seconds.append(float(line.split()[0]))
            if tell and at % 10 == 0:
                print(f"{at} restarts, the last took {line.split()[0]} s and {line.split()[1]} s to boot", flush=True)
    assert running.returncode == 0, f"{at} of {number} restarts"
    box.run("touch /root/enough; sleep 2")
    enqueued = set(box.get("/root/enqueued").split())
    done: list[str] = []
    idle_since = time.monotonic()
    # What Redis says of busy threads is as old as the last heartbeat, and the longest job takes 30 s.
    while not enqueued <= set(done) and time.monotonic() - idle_since < 60:
        time.sleep(2)
        found = re.findall(r"jid=([0-9a-f]{24}).*?: done", box.journal("mastodon-sidekiq", since=since))
        if len(found) > len(done) or int(box.redis("llen", "queue:default")) + int(box.redis("zcard", "retry")):
            idle_since = time.monotonic()
        done = found
    for jid in sorted(enqueued - set(done))[:5]:
        print("lost:", *(line for line in box.journal("mastodon-sidekiq", since=since).splitlines() if jid in line), sep="\n  ")
    return Outcome(len(enqueued), len(enqueued & set(done)), len(enqueued - set(done)), len(done) - len(set(done)), seconds)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    suite = sys.argv[2] if len(sys.argv) > 2 else "trixie"
    how = sys.argv[3] if len(sys.argv) > 3 else "drained"
    with Box.start(suite) as box:
        box.ready()
        outcome = restarts_under_load(box, number, how, tell=True)
        seconds = sorted(outcome.seconds)
        middle = seconds[len(seconds) // 2]
        print(
            f"{suite}, {how}: {len(seconds)} restarts, until systemd was done {middle:.1f} s in the median, {seconds[-1]:.1f} s the slowest"
        )
        print(f"enqueued {outcome.enqueued}, done {outcome.done}, lost {outcome.lost} (worked on twice: {outcome.twice})")
    sys.exit(1 if outcome.lost else 0)


if __name__ == "__main__":
    main()
