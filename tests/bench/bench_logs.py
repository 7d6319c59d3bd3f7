# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the logs subset reads a journal export, next to ``grep -E`` with the same signatures on the same bytes.

    python tests/bench/bench_logs.py [--megabytes 30] [--faulty 2]

Lines are those of real servers (Rails, Sidekiq, pino), one in a hundred or so belongs to a fault. The two are run in turn, so that both see
the same machine. Nothing is asserted; the byte limit of the subset is lifted for the measurement.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grep

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.fediops.mastodon.plugins.module_utils._observe import logs  # noqa: E402
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue  # noqa: E402

CHUNK = 65536
PATHS = ("/api/v1/timelines/home", "/api/v1/statuses", "/inbox", "/@alice", "/api/v1/instance", "/users/alice/outbox", "/api/v2/search")
FAULTS = (
    ("ActiveRecord::StatementInvalid", "PG::UndefinedColumn: ERROR:  column statuses.quote_id does not exist"),
    ("Errno::ENOSPC", "No space left on device @ rb_sysopen - /home/mastodon/live/public/system/cache/x"),
    ("Redis::CannotConnectError", "Connection refused - connect(2) for 127.0.0.1:6379 (redis://localhost:6379)"),
    ("ActiveRecord::ConnectionTimeoutError", "could not obtain a connection from the pool within 5.000 seconds (waited 5.002 seconds)"),
    ("ActionController::BadRequest", "Invalid query parameters: expected Hash (got String) for param"),
)


def lines(rng: random.Random, faulty: float) -> Iterator[tuple[str, str, str]]:
    """(unit, pid, message) for ever."""
    while True:
        rid = "%08x-%04x-4%03x-8%03x-%012x" % (
            rng.getrandbits(32),
            rng.getrandbits(16),
            rng.getrandbits(12),
            rng.getrandbits(12),
            rng.getrandbits(48),
        )
        stamp = "2026-01-02T03:04:05.%06d" % rng.randrange(10**6)
        kind = rng.random()
        if kind < 0.5:
            bad = rng.random() * 100 < faulty
            status = 500 if bad else rng.choice((200, 200, 200, 200, 202, 302, 401, 404))
            yield (
                "mastodon-web.service",
                "312",
                (
                    f"I, [{stamp} #312]  INFO -- : [{rid}] method={rng.choice(('GET', 'POST'))} path={rng.choice(PATHS)} format=json "
                    f"controller=Api::V1::StatusesController action=create status={status} allocations={rng.randrange(99999)} "
                    f"duration={rng.random() * 900:.2f} view={rng.random() * 9:.2f} db={rng.random() * 9:.2f}"
                ),
            )
            if bad:
                name, message = rng.choice(FAULTS)
                yield "mastodon-web.service", "312", f"E, [{stamp} #312] ERROR -- : [{rid}]   "
                yield "mastodon-web.service", "312", f"[{rid}] {name} ({message}):"
                yield "mastodon-web.service", "312", f"[{rid}]   "
                for number in (190, 14, 28):
                    yield "mastodon-web.service", "312", f"[{rid}] app/models/status.rb:{number}:in 'Status#visible?'"
        elif kind < 0.9:
            jid = "%024x" % rng.getrandbits(96)
            head = f"{stamp[:-3]}Z pid=79 tid={rng.randrange(99)}x class=ActivityPub::DeliveryWorker jid={jid}"
            yield "mastodon-sidekiq.service", "79", f"{head} INFO: start"
            if rng.random() * 100 < faulty:
                yield "mastodon-sidekiq.service", "79", f"{head} elapsed=0.321 INFO: fail"
                yield (
                    "mastodon-sidekiq.service",
                    "79",
                    f'{stamp[:-3]}Z pid=79 tid=1x WARN: {{"context":"Job raised exception","job":{{"jid":"{jid}"}}}}',
                )
                yield (
                    "mastodon-sidekiq.service",
                    "79",
                    f"{stamp[:-3]}Z pid=79 tid=1x WARN: HTTP::TimeoutError: Read timed out after 10 seconds",
                )
                yield (
                    "mastodon-sidekiq.service",
                    "79",
                    f"{stamp[:-3]}Z pid=79 tid=1x WARN: /home/mastodon/live/app/lib/request.rb:12:in `x'",
                )
            else:
                yield "mastodon-sidekiq.service", "79", f"{head} elapsed=0.321 INFO: done"
        else:
            yield (
                "mastodon-streaming@4000.service",
                "90",
                (
                    '{"level":"info","time":1767323045678,"pid":90,"hostname":"h","name":"streaming",'
                    '"req":{"id":"%s","method":"GET","url":"/api/v1/streaming/health"},'
                    '"res":{"statusCode":200},"responseTime":1,"msg":"request completed"}' % rid
                ),
            )


def generate(path: Path, size: int, faulty: float) -> int:
    """Write an export file of about ``size`` bytes; returns how many entries it has."""
    rng = random.Random(1)
    count = written = 0
    with path.open("wb") as out:
        for unit, pid, message in lines(rng, faulty):
            count += 1
            entry = (
                f"__CURSOR=s=0d6a3f0f5d4c4b6c9d6b1c1d2e3f4a5b;i={count:x};b=9f3c1d2e3f4a5b6c7d8e9f0a1b2c3d4e;m={count:x};t={count:x};x={count:x}\n"
                f"__REALTIME_TIMESTAMP={1767323045000000 + count * 100}\n__MONOTONIC_TIMESTAMP={count * 100}\n"
                f"__SEQNUM={count}\n__SEQNUM_ID=0d6a3f0f5d4c4b6c9d6b1c1d2e3f4a5b\n"
                f"_BOOT_ID=9f3c1d2e3f4a5b6c7d8e9f0a1b2c3d4e\n_TRANSPORT=stdout\nSYSLOG_IDENTIFIER=bundle\n"
                f"MESSAGE={message}\n_PID={pid}\n_SYSTEMD_UNIT={unit}\n\n"
            ).encode()
            written += len(entry)
            out.write(entry)
            if written >= size:
                return count
    return count


class File:
    """The door, with a file in the place of journalctl."""

    truncated = False
    reason = ""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as handle:
            while chunk := handle.read(CHUNK):
                yield chunk

    def journal(self, units: Any, since_epoch: float, lines: int, deadline: float, max_bytes: int) -> File:
        return self

    def glob(self, pattern: str) -> list[str]:
        return []

    def listing(self, path: str) -> list[str]:
        return []

    def stat(self, path: str) -> None:
        return None


def run_subset(path: Path, chosen: dict[str, Any]) -> tuple[float, int, dict[str, Any]]:
    """(seconds, peak bytes, result), in a process of its own as in a real run."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        units = [
            {"name": "mastodon-web.service", "role": "web"},
            {"name": "mastodon-sidekiq.service", "role": "sidekiq"},
            {"name": "mastodon-streaming@4000.service", "role": "streaming"},
        ]
        logs.JOURNAL_LINES = 1 << 40  # the file is read whole
        begin = time.perf_counter()
        result = logs.observe(
            File(path),
            {"units": units},
            {"since_epoch": 0, "signatures": chosen, "deadline": time.monotonic() + 900, "secrets": ["x" * 32] * 20},
        )
        seconds = time.perf_counter() - begin
        cpu = time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        answer = {
            "seconds": seconds,
            "cpu": cpu,
            "peak": peak,
            "lines": sum(s["lines"] for s in result["sources"]),
            "hits": len(result["signatures"]),
        }
        os.write(send, repr(answer).encode())
        os._exit(0)
    os.close(send)
    answer = eval(os.read(receive, 65536))  # noqa: S307  our own child's repr
    os.close(receive)
    os.waitpid(child, 0)
    return answer["seconds"], answer["peak"], answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=30)
    parser.add_argument("--faulty", type=float, default=1.0, help="percent of requests and jobs that fail")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    chosen = _catalogue.signatures(_catalogue.load())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.export"
        count = generate(path, asked.megabytes << 20, asked.faulty)
        size = path.stat().st_size / 1e6
        print(f"{size:.0f} MB, {count} entries, {asked.faulty} % faulty, {len(chosen)} signatures")
        for _round in range(asked.rounds):
            compared = grep.told(path, chosen)
            seconds, peak, answer = run_subset(path, chosen)
            print(f"MB per CPU second: {compared}")
            print(
                f"logs subset {size / seconds:6.1f} MB/s ({size / answer['cpu']:.1f} MB per CPU second), "
                f"{count / seconds / 1000:.0f} k entries/s, "
                f"peak {peak / 1e6:.0f} MB, {answer['lines']} lines, {answer['hits']} signatures seen"
            )


if __name__ == "__main__":
    main()
