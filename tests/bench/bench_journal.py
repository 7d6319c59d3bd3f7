# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the logs subset reads a journal: the same last hour behind a small and behind a large past, next to journalctl alone.

    python tests/bench/bench_journal.py [--gigabytes 5] [--entries 20000]

The journals are real ones, written by systemd-journal-remote (installed when it is missing) and read by the real journalctl. 5 GB take
some minutes to write. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time

from collections.abc import Iterator
from pathlib import Path

from bench_log_files import ROOT, UNITS, Journal, _catalogue, observe

WRITER = "/usr/lib/systemd/systemd-journal-remote"
BLOCK = 2000
BOOT, MACHINE = "1" * 32, "2" * 32
PAST_SECONDS, HOUR = 30 * 86400.0, 3600.0


def block(begin: float, seconds: float, first: int, count: int = BLOCK) -> bytes:
    """So many entries of the three units, spread over these seconds, in the journal's export format."""
    parts = []
    for number in range(first, first + count):
        at = int((begin + seconds * (number - first) / count) * 1e6)
        unit = UNITS[number % 3]
        text = (
            f"[{number:032x}] method=GET path=/api/v1/timelines/home format=json controller=Api::V1::Timelines::HomeController "
            f"action=show status=200 allocations={number} duration={number % 977}.02 view=0.00 db=0.71"
        )
        parts.append(
            f"__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={number + 1}\n_BOOT_ID={BOOT}\n_MACHINE_ID={MACHINE}\n_TRANSPORT=stdout\n"
            f"PRIORITY=6\nSYSLOG_IDENTIFIER=bundle\n_PID={300 + number % 3}\n_SYSTEMD_UNIT={unit}.service\nMESSAGE={text}\n\n"
        )
    return "".join(parts).encode()


def entries(past: int, new: int, now: float) -> Iterator[bytes]:
    for first in range(0, past, BLOCK):
        yield block(now - HOUR - 60 - PAST_SECONDS * (1 - first / past), PAST_SECONDS * BLOCK / past, first)
    yield block(now - HOUR + 60, HOUR - 120, past, new)


def write(folder: Path, past: int, new: int) -> float:
    """The journal's size in bytes."""
    folder.mkdir()
    command = [WRITER, f"--output={folder / 'remote.journal'}", "--split-mode=none", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as writer:
        assert writer.stdin is not None
        for part in entries(past, new, time.time()):
            writer.stdin.write(part)
        writer.stdin.close()
    assert writer.returncode == 0, "systemd-journal-remote failed"
    return float(sum(file.stat().st_blocks * 512 for file in folder.glob("*.journal")))


def journalctl_seconds(folder: Path) -> float:
    begin = time.perf_counter()
    units = [word for unit in UNITS for word in ("-u", unit)]
    command = ["journalctl", f"--directory={folder}", "--since=-1h", "-o", "export", *units]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=5.0, help="of the large journal")
    parser.add_argument("--entries", type=int, default=20000, help="of the last hour")
    asked = parser.parse_args()
    subprocess.run([ROOT / "tools" / "packages", "systemd-journal-remote"], check=True)
    chosen = _catalogue.signatures(_catalogue.load())
    units = [{"name": f"{name}.service", "role": name.partition("-")[2]} for name in UNITS]
    with tempfile.TemporaryDirectory() as place:
        small = write(Path(place) / "small", 20 * BLOCK, asked.entries)
        each = small / (20 * BLOCK + asked.entries)
        sizes = {"small": small, "large": write(Path(place) / "large", int(asked.gigabytes * 1e9 / each) // BLOCK * BLOCK, asked.entries)}
        for turn in range(3):
            for name, size in sizes.items():
                folder = Path(place) / name
                found = observe(lambda end, at=str(folder): Journal(end, at), {"units": units, "log_files": {}}, HOUR, chosen)
                print(
                    f"{turn + 1}. journal of {size / 1e9:.2f} GB, its last hour: {found['seconds']:.2f} s, {found['lines']} lines, "
                    f"peak {found['peak'] / 1e6:.0f} MB {found['reason']}; journalctl alone {journalctl_seconds(folder):.2f} s"
                )


if __name__ == "__main__":
    main()
