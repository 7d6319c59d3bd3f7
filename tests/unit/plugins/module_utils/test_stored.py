# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log files on disk: where the window begins is found without reading the file, whatever the clock did; gzip is unpacked within bounds."""

from __future__ import annotations

import gzip
import json
import os
import time

from pathlib import Path

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils import _stored
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._stored import BLOCK_BYTES, SMALL_BYTES, Stored, window_of
from ansible_collections.fediops.mastodon.plugins.module_utils._stored_lines import dated_of

LINE = 64  # bytes of a line of these files


def line(stamp: float) -> bytes:
    return b"%015.2f " % stamp + b"x" * (LINE - 17) + b"\n"


def newest(block: bytes) -> float | None:
    stamps = [float(each[:15]) for each in block.split(b"\n")[1:-1] if each[:1].isdigit()]
    return max(stamps, default=None)


def stored(data: bytes) -> Stored:
    return Stored(lambda offset, length: data[offset : offset + length], len(data), 0.0)


def test_five_gigabytes_are_searched_by_reading_a_megabyte() -> None:
    """A file that is made where it is read: its lines tell the second of their offset."""
    size, read = 5 << 30, []

    def read_at(offset: int, length: int) -> bytes:
        read.append(length)
        first = offset // LINE
        made = b"".join(line(number * 0.001) for number in range(first, (offset + length) // LINE + 1))
        return made[offset - first * LINE :][:length]

    since = size // LINE * 0.001 - 3600
    begin = window_of(Stored(read_at, size, 0.0), newest, since)
    exact = int(since * 1000) * LINE
    assert exact - 2 * BLOCK_BYTES <= begin <= exact
    assert sum(read) < 1 << 20


@settings(deadline=None)
@given(st.integers(0, 40000), st.integers(0, 20000), st.floats(0, 30000))
def test_nothing_of_the_window_is_passed_over(lines: int, more: int, ahead: float) -> None:
    """The clock was `ahead` seconds ahead of itself in the first `lines` lines, one a second, and was then set back for `more` lines."""
    data = b"".join(line(number + ahead) for number in range(lines)) + b"".join(line(lines + number) for number in range(more))
    for since in (0.0, lines - 1.0, lines + more - 3600.0, lines + more / 2, lines + more + 1.0):
        begin = window_of(stored(data), newest, since)
        stamps = [float(each[:15]) for each in data.splitlines()]
        crossing = max((at for at, stamp in enumerate(stamps) if stamp < since), default=-1) + 1  # from here on all are of the window
        assert begin <= crossing * LINE
        # What else claims to be of the window is read too, unless more lines that claim to be older lie behind it.
        first = next((at for at, stamp in enumerate(stamps) if stamp >= since), len(stamps))
        older = sum(stamp < since for stamp in stamps[first:])
        inside = next((at for at, stamp in enumerate(stamps[first:]) if stamp < since), 0)
        assert begin <= first * LINE or older * LINE * 2 > inside * LINE - 2 * BLOCK_BYTES


def test_a_clock_that_was_wrong_for_a_while_hides_nothing() -> None:
    """Started in 1970, set right a minute later: in the middle of the window of an hour."""
    before = b"".join(line(1e9 + number) for number in range(20000))
    wrong = b"".join(line(number) for number in range(60))
    after = b"".join(line(1e9 + 20060 + number) for number in range(1000))
    assert window_of(stored(before + wrong + after), newest, 1e9 + 17460) <= 17460 * LINE


@pytest.mark.parametrize("junk", [b"no time here\n" * 40000, b"x" * 3000000 + b"\n", b"\0" * 3000000])
def test_what_has_no_time_hides_nothing(junk: bytes) -> None:
    old, new = b"".join(map(line, range(9000))), b"".join(map(line, range(9000, 12000)))
    for data in (old + junk + new, old + new[: -1000 * LINE] + junk + new[-1000 * LINE :]):
        assert window_of(stored(data), newest, 9000.0) <= 9000 * LINE
    assert window_of(stored(junk), newest, 9000.0) == 0


def test_a_small_file_is_read_whole() -> None:
    assert window_of(stored(line(1.0) * (SMALL_BYTES // LINE)), newest, 9e9) == 0


def read(path: Path, keep: int = 1 << 20, seconds: float = 10) -> tuple[bytes, str]:
    with Host(time.monotonic() + 10).stored(str(path), keep, time.monotonic() + seconds) as file:
        assert file.passed >= 0 and (keep == 1 << 20) <= (file.passed == 0)
        return b"".join(file.chunks(0)), file.reason


def test_gzip_of_several_members_is_unpacked_and_its_newest_end_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.1.gz"
    path.write_bytes(gzip.compress(b"a" * 100000) + b"\0" * 512 + gzip.compress(b"b" * 300000) + gzip.compress(b"end"))
    data, reason = read(path)
    assert (data, reason) == (b"a" * 100000 + b"b" * 300000 + b"end", "")
    data, reason = read(path, keep=70000)
    assert data.endswith(b"b" * 69997 + b"end") and len(data) < 70000 + 2 * _stored.CHUNK_BYTES
    with Host(time.monotonic() + 10).stored(str(path), 70000, time.monotonic() + 10) as file:
        assert (file.passed, file.reason, reason) == (400003 - len(data), "", "")
    assert read(path, keep=0)[0] == path.read_bytes()


def test_a_gzip_that_is_cut_off_or_damaged_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "log.1.gz"
    whole = os.urandom(50000) + b"z" * 900000
    packed = gzip.compress(whole)
    for content, told, least in (
        (packed[:-9], "is cut off behind 9", 900000),
        (packed[:40000], "is cut off", 30000),
        (packed[:11], "is cut off", 0),
        (packed + b"not gzip", "damaged behind 950000", 950000),
        (packed[:-8] + b"wrong sum", "damaged behind", 800000),
    ):
        path.write_bytes(content)
        data, reason = read(path)
        assert told in reason and len(data) >= least and whole.startswith(data)


def test_a_gzip_bomb_ends_at_its_limit_of_bytes_or_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"\0" * 50000000))
    monkeypatch.setattr(_stored, "UNPACKED_BYTES", 3000000)
    data, reason = read(path, keep=100000)
    assert len(data) < 200000 and "only the first 3" in reason
    assert "were unpacked" in read(path, seconds=-1)[1]


def test_a_file_that_is_rotated_grows_or_is_emptied_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"old line\n" * 20000)
    with Host(time.monotonic() + 10).stored(str(path), 1 << 20, time.monotonic() + 10) as file:
        chunks = file.chunks(0)
        begin = next(chunks)
        path.rename(tmp_path / "app.log.1")
        path.write_bytes(b"new line\n")
        with (tmp_path / "app.log.1").open("ab") as grown:
            grown.write(b"late line\n")
        assert begin + b"".join(chunks) == b"old line\n" * 20000 and not file.reason
    with Host(time.monotonic() + 10).stored(str(path), 1 << 20, time.monotonic() + 10) as file:
        path.write_bytes(b"")
        assert list(file.chunks(0)) == [] and file.reason == "the file was emptied while it was read"


def test_what_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "missing", "."):
        with pytest.raises(HostError):
            read(tmp_path / name)


@given(st.text(max_size=60), st.sampled_from(["", ".5", ".123456789"]))
def test_records_of_docker_are_the_same_the_quick_way(text: str, digits: str) -> None:
    record = {"log": text + "\n", "stream": "stdout", "time": f"2026-01-02T03:04:05{digits}Z"}
    quick, slow = (
        json.dumps(record, ensure_ascii=False, separators=marks).encode("utf-8", "ignore") for marks in ((",", ":"), (", ", ":"))
    )
    one, other = dated_of("web", quick), dated_of("web", slow)
    assert one.time == other.time == 1767323045 + float("0" + digits)
    assert one.text == other.text.rstrip("\r\n") or "\r" in text
