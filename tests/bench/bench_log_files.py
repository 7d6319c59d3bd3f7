# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the logs subset reads files: a window of an hour in a large and in a small file, and the window's bytes next to ``grep -E``.

    python tests/bench/bench_log_files.py [--gigabytes 5] [--megabytes 8] [--journal /var/log/journal]

The journal of a machine is read by the real journalctl, for an hour and for a minute. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grep

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host  # noqa: E402
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import logs  # noqa: E402
from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import ByteStream  # noqa: E402
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue  # noqa: E402

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"
UNITS = ("mastodon-web", "mastodon-sidekiq", "mastodon-streaming")


def access(at: float, number: int) -> str:
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at))
    path = f"/api/v1/timelines/home?max_id={number}"
    return f'192.0.2.{number % 250} - - [{stamp}] "GET {path} HTTP/2.0" {(200, 200, 304, 404, 500)[number % 5]} 5120 "-" "{AGENT}"\n'


def nginx(at: float, number: int) -> str:
    asked = f'request: "GET /users/a{number} HTTP/2.0", upstream: "http://127.0.0.1:3000/users/a{number}", host: "mastodon.example"'
    return (
        time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(at)) + f" [error] 812#812: *{number} connect() failed (111: Connection refused) "
        f"while connecting to upstream, client: 192.0.2.9, server: mastodon.example, {asked}\n"
    )


def postgresql(at: float, number: int) -> str:
    head = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{number % 1000:03d} UTC [{number}] "
    if number % 3:
        return head + "LOG:  checkpoint starting: time\n"
    return head + 'mastodon@mastodon_production ERROR:  duplicate key value violates unique constraint "index_statuses_on_uri"\n'


def docker(at: float, number: int) -> str:
    text = f"[{number:032x}] method=GET path=/api/v1/timelines/home format=json controller=A action=show status=200 duration=3.02 db=0.71\n"
    return (
        json.dumps(
            {"log": text, "stream": "stderr", "time": time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(at))}, separators=(",", ":")
        )
        + "\n"
    )


def exceptions(at: float, number: int) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    error = f"ActiveRecord::StatementInvalid (PG::UndefinedColumn: ERROR:  column statuses.quote_{number} does not exist):"
    return f"{stamp} web1 bundle[312]: [{number:032x}] {error}\n"


def outage(at: float, number: int) -> str:
    """Every request fails: its line, the exception and its frames, as Rails writes them."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    head = f"{stamp} web1 bundle[312]: [{number:032x}] "
    path, controller = (("/api/v1/timelines/home", "HomeController"), ("/@alice", "AccountsController"))[number % 2]
    error = f"PG::UndefinedColumn: ERROR:  column statuses.quote_{number % 7} does not exist"
    lines = [
        f"method=GET path={path} format=json controller={controller} action=show status=500 "
        f"error='ActiveRecord::StatementInvalid: {error}' duration={number % 900}.02 view=0.00 db=1.31",
        "",
        f"ActiveRecord::StatementInvalid ({error}",
        f"LINE 1: SELECT \"statuses\".* FROM \"statuses\" WHERE id = {number}",
        "                      ^):",
        "",
        "app/models/concerns/cacheable.rb:18:in `cache_ids'",
        "app/models/feed.rb:31:in `from_redis'",
        "app/models/feed.rb:14:in `get'",
        f"app/controllers/{controller.lower()}.rb:28:in `cached_statuses'",
        "app/controllers/concerns/localized.rb:11:in `set_locale'",
        "lib/mastodon/rack_middleware.rb:9:in `call'",
    ]
    return "".join(f"{head}{line}\n" for line in lines)


def odd(at: float, number: int) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return f"{stamp} web1 bundle[312]: [{number:032x}] Some::Odd{number}Error ({'detail ' * 20}{number}):\n"


KINDS: dict[str, tuple[str, Callable[[float, int], str]]] = {
    "access log": ("proxy", access),
    "nginx errors": ("proxy", nginx),
    "PostgreSQL": ("database", postgresql),
    "docker JSON": ("web", docker),
    "an outage: every request fails": ("web", outage),
    "nothing but exceptions": ("web", exceptions),
    "nothing but exceptions that nobody knows": ("web", odd),
}


class Files(Host):
    """The real door, without the journal of this machine."""

    def journal(self, *_arguments: Any, **_options: Any) -> ByteStream:
        return ByteStream(iter(()))


class Journal(Host):
    """The real door, with a journal of another place."""

    def __init__(self, deadline: float, folder: str) -> None:
        super().__init__(deadline)
        self.folder = folder

    def journal(self, *arguments: Any, **_options: Any) -> ByteStream:
        return super().journal(*arguments, options=[f"--directory={self.folder}"])


def observe(host: Callable[[float], Host], install: dict[str, Any], seconds: float, chosen: dict[str, Any]) -> dict[str, Any]:
    """{seconds, cpu, peak, read, facts, lines, …}, in a process of its own as in a real run."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        logs.FILE_BYTES = logs.ACCESS_BYTES = 1 << 40  # all of the window
        logs.FILE_BYTES_A_SECOND = logs.ACCESS_BYTES_A_SECOND = 1 << 40
        deadline = time.monotonic() + 1800
        options = {"since_epoch": time.time() - seconds, "signatures": chosen, "deadline": deadline, "secrets": ["x" * 32] * 20}
        before, begin, cpu = _read_bytes(), time.perf_counter(), time.process_time()
        found = logs.observe(host(deadline), install, options)
        answer = {
            "seconds": time.perf_counter() - begin,
            "cpu": time.process_time() - cpu,
            "read": _read_bytes() - before,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "facts": len(json.dumps(found)),
            "lines": sum(source["lines"] for source in found["sources"]),
            "reason": found.get("_reason", "") or found.get("_partly", ""),
        }
        os.write(send, json.dumps(answer).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        answer = json.loads(stream.read())
    os.waitpid(child, 0)
    return dict(answer)


def _read_bytes() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


def of_file(path: Path, origin: str, chosen: dict[str, Any]) -> dict[str, Any]:
    return observe(Files, {"units": [], "log_files": {origin: [str(path)]}}, 3600, chosen)


def write(path: Path, make: Callable[[float, int], str], old_bytes: int, new_bytes: int) -> None:
    """So many bytes of the thirty days before the last hour, and of that hour."""
    now = time.time()
    sample = [make(now - 3000, number) for number in range(2000)]
    size = sum(map(len, sample)) // len(sample)
    with path.open("wb") as stream:
        blocks = old_bytes // (size * len(sample))
        for block in range(blocks):
            at = now - 3700 - 30 * 86400 * (1 - block / blocks)
            if block % 8 == 0:
                text = "".join(make(at, number) for number in range(2000)).encode()
            stream.write(text)
        count = new_bytes // size
        rng = random.Random(1)
        stream.write("".join(make(now - 3500 * (1 - number / count), rng.getrandbits(40)) for number in range(count)).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=5.0, help="of the large file")
    parser.add_argument("--megabytes", type=int, default=8, help="of the hour")
    parser.add_argument("--journal", default="/var/log/journal", help="folder of journal files")
    asked = parser.parse_args()
    chosen = _catalogue.signatures(_catalogue.load())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        print(f"an hour of {asked.megabytes} MB at the end of a file of …")
        for name in ("access log", "PostgreSQL", "docker JSON"):
            origin, make = KINDS[name]
            for size in (0.05, min(asked.gigabytes, shutil.disk_usage(folder).free / 2e9)):
                write(path, make, int(size * (1 << 30)), asked.megabytes << 20)
                found = of_file(path, origin, chosen)
                print(
                    f"{name}, {path.stat().st_size / 1e9:4.2f} GB: {found['seconds']:.2f} s ({found['cpu']:.2f} s of the processor), "
                    f"{found['read'] / 1e6:.1f} MB read, peak {found['peak'] / 1e6:.0f} MB, {found['lines']} lines {found['reason']}"
                )
        print("the bytes of the window, MB a second of the processor")
        for name, (origin, make) in KINDS.items():
            write(path, make, 0, asked.megabytes << 20)
            size = path.stat().st_size / 1e6
            found = of_file(path, origin, chosen)
            print(
                f"{name}: logs subset {size / found['cpu']:.1f}, {grep.told(path, chosen)}; "
                f"peak {found['peak'] / 1e6:.0f} MB, facts {found['facts'] / 1e3:.0f} kB, {found['lines']} lines"
            )
    journal = Path(asked.journal)
    size = sum(file.stat().st_size for file in journal.rglob("*.journal")) if journal.is_dir() else 0
    units = [{"name": f"{name}.service", "role": name.partition("-")[2]} for name in UNITS]
    for seconds in (3600, 60) if size else ():
        found = observe(lambda deadline: Journal(deadline, str(journal)), {"units": units, "log_files": {}}, seconds, chosen)
        print(f"journal of {size / 1e9:.2f} GB, the last {seconds} s: {found['seconds']:.2f} s, {found['lines']} lines {found['reason']}")
    if not size:
        print(f"no journal in {journal}")


if __name__ == "__main__":
    main()
