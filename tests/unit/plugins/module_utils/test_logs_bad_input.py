# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs as they should not be, as real files through the real door: nothing is raised, everything is bounded, what was not read is said."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import time

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import logs
from ansible_collections.fediops.mastodon.tests.unit.fixtures.log_door import SIGNATURES, Bytes

FULL = "%s UTC [12] mastodon@mastodon_production ERROR:  could not extend file: No space left on device\n"
QUIET = "%s UTC [12] LOG:  checkpoint starting: time\n"
LONG = 200_000_000
PACKS: dict[str, Any] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


class Files(Host):
    """The real door, but for the journal of the machine that runs the tests."""

    def journal(self, units: Any, since_epoch: float, lines: int, deadline: float, max_bytes: int) -> Any:
        return Bytes(b"")


def at(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.000", time.gmtime(epoch))


def read(*paths: Path, hours: float = 1, origin: str = "database", seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    install = {"units": [], "log_files": {origin: [str(path) for path in paths]}}
    options = {"since_epoch": time.time() - 3600 * hours, "deadline": deadline, "signatures": SIGNATURES, "secrets": []}
    found: dict[str, Any] = logs.observe(Files(deadline), install, options)
    assert len(json.dumps(found)) < 200_000
    return found


def full(found: dict[str, Any]) -> int:
    count: int = found["signatures"].get("a.space", {"count": 0})["count"]
    return count


def days_of(quiet: int, now: float, seconds: float = 60) -> str:
    """So many lines of before the window."""
    return "".join(QUIET % at(now - 3700 - seconds * number) for number in range(quiet, 0, -1))


@pytest.mark.parametrize(
    "junk", [os.urandom(1_000_000), b"\xff\xfe\xfa\n" * 100_000, b"\0" * 1_000_000, b"\r\n" * 200_000, b"\x1b]0;" * 200_000]
)
def test_bytes_that_are_no_text_hide_no_line(tmp_path: Path, junk: bytes) -> None:
    now, path = time.time(), tmp_path / "a.log"
    path.write_bytes(days_of(9000, now).encode() + junk + b"\n" + (FULL % at(now - 60)).encode() + junk + b"\n" + (FULL % at(now)).encode())
    assert full(read(path)) == 2


@pytest.mark.parametrize("where", ["before", "within", "alone"])
def test_a_line_of_200_megabytes(tmp_path: Path, where: str) -> None:
    now, path = time.time(), tmp_path / "a.log"
    with path.open("wb") as file:
        file.write(b"" if where == "alone" else days_of(9000, now).encode())
        file.write(b"" if where != "within" else (FULL % at(now - 90)).encode())
        file.write((QUIET % at(now - 4000 if where == "before" else now - 80)).encode().rstrip(b"\n"))
        file.seek(LONG, os.SEEK_CUR)  # a hole: NUL bytes that take no room
        file.write(b"\n")
        file.write(b"" if where == "alone" else (FULL % at(now - 60)).encode())
    begin = time.process_time()
    found = read(path)
    assert full(found) == (0 if where == "alone" else 1)  # nobody can tell when the long line ended: it goes as of the window,
    assert found["sources"][0]["truncated"]  # and what is before it is behind the limit, which is said
    assert time.process_time() - begin < 10


def test_a_long_line_is_no_place_to_write_another_one(tmp_path: Path) -> None:
    now, path = time.time(), tmp_path / "a.log"
    statement = f"{at(now)} UTC [12] STATEMENT:  SELECT '"
    for fill in range(65536 - len(statement) - 5, 65536 - len(statement) + 5):
        path.write_text(statement + "x" * fill + (FULL % at(now)) * 10 + "x" * 3_000_000 + (FULL % at(now)).rstrip("\n") + "'\n")
        assert full(read(path)) <= 9  # newlines are newlines, but where the line is cut nothing begins
    path.write_text(statement + "x" * 65500 + (FULL % at(now)).rstrip("\n") * 100_000 + "\n" + FULL % at(now))
    assert full(read(path)) == 1


def test_a_cut_off_gzip_is_said(tmp_path: Path) -> None:
    now, path = time.time(), tmp_path / "a.log"
    path.write_text(FULL % at(now))
    packed = gzip.compress(((FULL % at(now - 600)) * 20000 + days_of(3000, now)).encode())
    (tmp_path / "a.log.1.gz").write_bytes(packed[: len(packed) // 2])
    old = tmp_path / "a.log.2.gz"
    old.write_bytes(packed)
    os.utime(old, (now - 7200, now - 7200))  # written to before the window: not even opened
    found = read(path)
    assert [Path(source["name"]).name for source in found["sources"]] == ["a.log.1.gz", "a.log"]
    assert full(found) > 1000
    assert found["sources"][0]["truncated"] and "is cut off" in found["sources"][0]["reason"]
    assert not found["sources"][1]["truncated"]


def test_rotated_files_of_the_window_are_read_packed_or_not(tmp_path: Path) -> None:
    now = time.time()
    for number, name in enumerate(
        ("a.log", "a.log.1", "a.log.2.gz", "a.log.3.xz", "a.log.4.bz2", "a.log-20260101.gz", "a.log.old", "a.log.1.bak")
    ):
        text = (FULL % at(now - 10 - 60 * number)).encode()
        (tmp_path / name).write_bytes(PACKS.get(name.rpartition(".")[2], bytes)(text))
        os.utime(tmp_path / name, (now - 60 * number, now - 60 * number))
    found = read(tmp_path / "a.log")
    assert [Path(source["name"]).name for source in found["sources"]] == ["a.log.3.xz", "a.log.2.gz", "a.log.1", "a.log"]
    assert full(found) == 4


def test_a_rotated_file_that_cannot_be_unpacked_is_said(tmp_path: Path) -> None:
    now = time.time()
    (tmp_path / "a.log").write_text(FULL % at(now - 10))
    (tmp_path / "a.log.1.zst").write_bytes(b"\x28\xb5\x2f\xfd rest")
    packed, plain = read(tmp_path / "a.log")["sources"]
    assert (packed["truncated"], packed["reason"]) == (True, "the compressed file is packed by zstd, which cannot be read here")
    assert plain["lines"] == 1 and not plain["truncated"]


@pytest.mark.parametrize("jump", [-40 * 86400, -7200, -1800, -90, 1800, 7200])
@pytest.mark.parametrize("ago", [600, 3000, 3500, 5400])
def test_a_clock_that_was_set_back_or_forward_loses_no_line(tmp_path: Path, jump: float, ago: float) -> None:
    """Until `ago` seconds before now it was `jump` seconds ahead, or behind; one line a second, and four hours of them."""
    now, path = float(int(time.time())), tmp_path / "a.log"
    stamps = [now - each - (jump if each > ago else 0) for each in range(14400, 0, -1)]
    path.write_text("".join((FULL if number % 10 == 0 else QUIET) % at(stamp) for number, stamp in enumerate(stamps)))
    since, told = now - 3600, full(read(path))
    believable = [number % 10 == 0 and since + 5 <= stamp <= now + 55 for number, stamp in enumerate(stamps)]
    after = max((number for number, stamp in enumerate(stamps) if stamp < since + 5), default=-1) + 1
    assert sum(believable[after:]) <= told <= sum(believable) + 12  # all since the clock was last before the window


def test_a_log_that_is_written_to_and_rotated_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, path = time.time(), tmp_path / "a.log"
    path.write_text(days_of(9000, now) + (FULL % at(now)) * 3000)
    parsed = logs.Tally.parsed
    seen = []

    def busy(self: Any, *arguments: Any) -> None:
        seen.append(1)
        if len(seen) == 10:
            path.rename(tmp_path / "a.log.1")
        elif len(seen) == 20:
            path.write_text(FULL % at(now))
        with (tmp_path / "a.log.1" if len(seen) >= 10 else path).open("a") as grown:
            grown.write(FULL % at(now))
        parsed(self, *arguments)

    monkeypatch.setattr(logs.Tally, "parsed", busy)
    found = read(path)
    assert full(found) == 3000 and not found["sources"][0]["truncated"]


def test_a_log_that_is_emptied_while_it_is_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, path = time.time(), tmp_path / "a.log"
    path.write_text((FULL % at(now)) * 20000)
    parsed = logs.Tally.parsed

    def emptied(self: Any, *arguments: Any) -> None:
        path.write_bytes(b"")
        parsed(self, *arguments)

    monkeypatch.setattr(logs.Tally, "parsed", emptied)
    source = read(path)["sources"][0]
    assert source["truncated"] and source["reason"] == "the file was emptied while it was read" and source["lines"] > 100


def test_a_log_that_cannot_be_read_in_time_says_so_and_its_newest_lines_are_read(tmp_path: Path) -> None:
    now, path = time.time(), tmp_path / "a.log"
    path.write_text((FULL % at(now - 60)) * 60000 + QUIET % at(now))
    source = read(path, seconds=0.4)["sources"][0]
    assert source["truncated"] and ("only the last" in source["reason"] or source["reason"] == "the time was up")


def test_nothing_but_different_errors_is_still_a_small_result(tmp_path: Path) -> None:
    now, path = time.time(), tmp_path / "web.log"
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000", time.localtime(now))
    path.write_text("".join(
        f"E, [{stamp} #1] ERROR -- : [{number:032x}] Some::Odd{number}Error ({'detail ' * 200}{number}):\n"
        f"[{number:032x}] app/models/model_{number}.rb:{number}:in `method_{number}'\n" for number in range(3000)))  # fmt: skip
    found = read(path, origin="web")
    assert found["exceptions_other"] + sum(each["count"] for each in found["exceptions"]) > 2900
    assert len(json.dumps(found)) <= logs.RESULT_BYTES


def test_docker_files_are_searched_like_others(tmp_path: Path) -> None:
    now, path = time.time(), tmp_path / "a-json.log"

    def record(ago: float, text: str) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(now - ago))
        return json.dumps({"log": text + "\n", "stream": "stderr", "time": stamp}, separators=(",", ":")) + "\n"

    path.write_text("".join(record(3700 + each, "LOG:  checkpoint starting: time") for each in range(9000, 0, -1))
                    + record(60, "ERROR:  could not extend file: No space left on device"))  # fmt: skip
    found = read(path)
    assert full(found) == 1 and found["sources"][0]["lines"] == 1


def test_a_large_gzip_is_cut_only_when_the_window_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1 << 20)
    now, path = time.time(), tmp_path / "a.log"
    path.write_text("")
    packed = tmp_path / "a.log.1.gz"
    packed.write_bytes(gzip.compress((days_of(40000, now) + (FULL % at(now - 60)) * 2000).encode()))
    found = read(path)
    assert (full(found), found["sources"][0]["truncated"]) == (2000, False) and "_partly" not in found
    packed.write_bytes(gzip.compress(((FULL % at(now - 60)) * 40000).encode()))
    found = read(path)
    size = 40000 * len(FULL % at(now))
    assert 1000 < full(found) < 20000 and found["sources"][0]["reason"].endswith(f" of {size} bytes were read")
    assert str(packed) in found["_partly"]
