# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a request is looked for, next to ``grep -F`` on the same bytes: an access log, and the journal as journalctl exports it.

    python tests/bench/bench_trace.py [--megabytes 400]

The id stands at the old end, the worst case, and then at the young one. The two are run in turn, so that both see the same machine. Nothing
is asserted. What journalctl itself needs is not in it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host  # noqa: E402
from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import ByteStream, Completed  # noqa: E402
from ansible_collections.fediops.mastodon.plugins.module_utils._trace import files, journal  # noqa: E402
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Source  # noqa: E402

RID = "6bc0960d-5001-43c3-a7f4-31376ce7a2a7"
OTHER = "11111111-2222-4333-8444-555555555555"
WINDOW_SECONDS = 86400
UNIT = "mastodon-web.service"


def access(at: float, request_id: str) -> bytes:
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at))
    line = f'- - - [{stamp}] "GET /api/v1/timelines/home HTTP/2.0" 200 5120 "-" "-" request_time=0.1 upstream="127.0.0.1:3000" '
    return (line + f'upstream_status="200" upstream_time="0.1" request_id="{request_id}" host="mastodon.test"\n').encode()


def entry(at: float, request_id: str) -> bytes:
    text = f"I, [2025-11-21T14:00:00.100000 #100]  INFO -- : [{request_id}] method=GET path=/ controller=A action=b status=200 duration=1.0"
    cursor = "s=0123456789abcdef0123456789abcdef;i=1;b=0123456789abcdef0123456789abcdef;m=1;t=1;x=1"
    return (
        f"__CURSOR={cursor}\n__REALTIME_TIMESTAMP={at * 1e6:.0f}\n__MONOTONIC_TIMESTAMP=1\n_BOOT_ID=0123456789abcdef0123456789abcdef\n"
        f"_TRANSPORT=stdout\n_SYSTEMD_UNIT={UNIT}\nSYSLOG_IDENTIFIER=bundle\n_PID=100\nMESSAGE={text}\n\n"
    ).encode()


class Replay(Host):
    """A host whose journal is the export in a file."""

    def __init__(self, path: str) -> None:
        super().__init__(time.monotonic() + 3600)
        self.path = path

    def run(self, argv, seconds=5.0, max_bytes=0, owner=None, environment=None):  # type: ignore[no-untyped-def]
        return Completed(0, b"", b"", False)  # a journalctl that cannot search: all of it is read

    def journal(self, units, since_epoch, lines, deadline, max_bytes, options=()):  # type: ignore[no-untyped-def]
        # All of it is the first slice that is asked for.
        return ByteStream(iter(())) if any(word.startswith("--until") for word in options) else self.tail(self.path, max_bytes)


def write(path: Path, make: object, megabytes: int, old: bool, backwards: bool) -> None:
    """Lines of the last day; the id in the first or the last of them."""
    size = len(make(0.0, OTHER))  # type: ignore[operator]
    count = (megabytes << 20) // size
    now = time.time()
    with path.open("wb") as stream:
        for number in range(count):
            age = WINDOW_SECONDS * (number if backwards else count - number) / count
            mine = number == (count - 1 if old == backwards else 0)
            stream.write(make(now - age, RID if mine else OTHER))  # type: ignore[operator]


def in_file(path: Path, since: float) -> int:
    return len(
        files.find(Host(time.monotonic() + 3600), str(path), [RID.encode()], since, False, time.monotonic() + 3600, Source("proxy", "", ""))
    )


def in_journal(path: Path, since: float) -> int:
    deadline = time.monotonic() + 3600
    return len(journal.find(Replay(str(path)), {UNIT: "web"}, [RID.encode()], since, False, deadline, Source("system", "", "")))


def measure(name: str, path: Path, look: object) -> None:
    megabytes = path.stat().st_size / (1 << 20)
    subprocess.run(["cat", str(path)], stdout=subprocess.DEVNULL, check=True)  # both find it in memory
    begin = time.monotonic()
    found = look()  # type: ignore[operator]
    ours = time.monotonic() - begin
    begin = time.monotonic()
    subprocess.run(["grep", "-cF", RID, str(path)], stdout=subprocess.PIPE, check=True, env={**os.environ, "LC_ALL": "C"})
    grep = time.monotonic() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:<22} {megabytes:5.0f} MB  found {found}  {ours:6.2f} s   grep -F {grep:5.2f} s   {memory:4.0f} MB of memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    megabytes = parser.parse_args().megabytes
    since = time.time() - WINDOW_SECONDS - 3600
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "access.log"
        for old in (True, False):
            age = "old" if old else "young"
            write(path, access, megabytes, old, backwards=False)
            measure(f"access log, {age} end", path, lambda: in_file(path, since))
            write(path, entry, megabytes, old, backwards=True)
            measure(f"journal, {age} end", path, lambda: in_journal(path, since))


if __name__ == "__main__":
    main()
