# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that were given to explain, as they should not be: read as far as they go, in bounds, and what was not read is said."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import tracemalloc

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _log_file
from ansible_collections.fediops.mastodon.plugins.plugin_utils._log_file import LINE_BYTES, Lines
from ansible_collections.fediops.mastodon.plugins.plugin_utils._pasted import facts_of_log

SIGNATURES = {"disk_full.no_space": {"in": ["database", "web"], "match": "No space left on device"}}
FULL = b"2026-01-02 03:04:05.678 UTC [12] ERROR:  could not extend file: No space left on device\n"


def full(path: Path) -> tuple[int, str]:
    lines = Lines(path)
    facts = facts_of_log(lines, "log", SIGNATURES, "database")
    assert len(json.dumps(facts)) < 200_000
    return facts["logs"]["signatures"].get("disk_full.no_space", {"count": 0})["count"], facts["probes"]["logs"].get("reason", "")


@pytest.mark.parametrize(
    ("junk", "told"),
    [
        (os.urandom(1_000_000), "hold bytes that are no text"),
        (b"\xff\xfe\xfa\n" * 50_000, ""),  # may be letters of Latin-1
        (b"\0" * 1_000_000, "1 of 3 lines hold bytes that are no text"),
        (b"\x1b]0;" * 100_000, "of 1 line only the first 32 KiB were read"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_bytes_that_are_no_text_hide_no_line(tmp_path: Path, junk: bytes, told: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "log"
    path.write_bytes(pack(FULL + junk + b"\n" + FULL))
    count, reason = full(path)
    assert count == 2 and told in reason and bool(told) == bool(reason), reason


def test_a_line_of_200_megabytes_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.write(FULL)
        file.seek(200_000_000, os.SEEK_CUR)  # a hole: NUL bytes that take no room
        file.write(b"\n" + FULL)
    tracemalloc.start()
    assert full(path) == (2, "of 1 line only the first 32 KiB were read; 1 of 3 lines hold bytes that are no text")
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_log_that_is_written_to_while_it_is_read_ends_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log_file, "MAX_BYTES", 1 << 20)
    path = tmp_path / "log"
    path.write_bytes(FULL * 1000)
    lines = Lines(path)
    with path.open("ab") as file:
        for line in lines:
            file.write((line + b"\n") * 2)
            file.flush()
    assert lines.truncated == "only the first 1 MiB were read"


def test_a_damaged_gzip_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(FULL * 1000) + b"not gzip")
    assert full(path)[0] == 1000
    path.write_bytes(gzip.compress(FULL * 100000)[:-20])
    count, reason = full(path)
    assert count > 1000 and reason.startswith("the compressed file is cut off behind ")


def test_a_gzip_bomb_ends_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log_file, "MAX_BYTES", 3 << 20)
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(FULL + b"\0" * 50_000_000))
    count, reason = full(path)
    assert count == 1 and reason.startswith("only the first 3 MiB were read; ")


def test_times_that_run_backwards_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(FULL.replace(b"03:04", b"%02d:04" % hour) for hour in (9, 10, 3, 4, 23, 0)))
    facts = facts_of_log(Lines(path), "log", SIGNATURES, "database")
    found = facts["logs"]["signatures"]["disk_full.no_space"]
    assert found["count"] == 6
    assert found["last_epoch"] - found["first_epoch"] == 23 * 3600
    assert facts["time_epoch"] == facts["logs"]["until_epoch"] == found["last_epoch"]


def test_nothing_but_different_errors_is_still_a_small_result(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"[{number:032x}] Some::Odd{number}Error ({'detail ' * 200}{number}):\n" for number in range(5000)))
    lines = Lines(path)
    facts = facts_of_log(lines, "log", SIGNATURES, "web")
    assert facts["logs"]["exceptions_other"] > 4000 and len(json.dumps(facts)) < 200_000
    assert max(map(len, Lines(path))) <= LINE_BYTES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "there is no line of text in it"),
        (b"\n \n", "there is no line of text in it"),
        (b"\0\1\2\n" * 3 + FULL, "3 of 4 lines hold bytes that are no text"),
        (b"PK\3\4" + b"\5\6\1\n" * 9, "9 of 9 lines hold bytes that are no text"),
        (b"\5\n" * 4 + FULL, "4 of 5 lines hold bytes that are no text"),
        (b"\5\n" * 4 + b"LOG:  fine\n", "4 of 5 lines hold bytes that are no text"),
        (b"\2\0\0\0\0\0\0\6" + FULL, ""),  # as Docker's API gives it
        (FULL.decode().encode("utf-16-le"), ""),
        (b"x" * 100_000 + b"\n" + FULL, "of 1 line only the first 32 KiB were read"),
        (FULL + b"y" * 2_000_000, "of 1 line only the first 32 KiB were read"),
        (FULL.decode().encode("utf-16"), ""),
        (FULL, ""),
    ],
)
def test_what_was_not_read_is_said(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "odd.log"
    path.write_bytes(content)
    facts = facts_of_log(Lines(path), "log", SIGNATURES, "database")
    assert facts["probes"]["logs"].get("reason", "") == reason
    assert facts["probes"]["logs"]["state"] == ("ok" if b"No" in content or b"N\0o" in content else "failed")
    assert ("disk_full.no_space" in facts["logs"]["signatures"]) == (facts["probes"]["logs"]["state"] == "ok")


def test_letters_of_latin_1_are_read_and_its_controls_are_not(tmp_path: Path) -> None:
    signatures = {"db_auth_failed.french": {"in": ["database"], "match": "échouée pour l.utilisateur « masto"}}
    path = tmp_path / "latin1.log"
    path.write_bytes("2026-01-02 03:04:05 UTC [1] FATAL:  échouée pour l'utilisateur « \x9bmasto »\n".encode("latin-1"))
    sample = facts_of_log(Lines(path), "log", signatures, "database")["logs"]["signatures"]["db_auth_failed.french"]["samples"][0]["text"]
    assert "\x9b" not in sample and "« masto »" in sample


def test_an_old_macintosh_ends_its_lines_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(FULL.replace(b"\n", b"\r") * 2)
    assert facts_of_log(Lines(path), "log", SIGNATURES, "database")["logs"]["signatures"]["disk_full.no_space"]["count"] == 2


def test_what_is_behind_a_carriage_return_is_no_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'2026-01-02 03:04:05 UTC [1] ERROR:  invalid input syntax for type json: "x\r' + FULL.rstrip() + b'"\n' + b"\n")
    assert facts_of_log(Lines(path), "log", SIGNATURES, "database")["logs"]["signatures"] == {}


def test_a_file_of_cases_may_repeat_itself_by_name(tmp_path: Path) -> None:
    path = tmp_path / "cases.yml"
    nested = "".join(f"a{level}: &a{level} [{', '.join(['*a' + str(level - 1)] * 9)}]\n" for level in range(1, 12))
    entries = "- {id: one, where: *a11, lines: y, symptoms: &s [z]}\n- {id: two, lines: y, symptoms: *s}\n"
    path.write_text(f"a0: &a0 [x]\n{nested}cases:\n{entries}")
    assert [(case.id, case.where) for case in _log_file.cases(path)] == [("one", ""), ("two", "")]
    path.write_text("a: &a [x]\ncases: [{id: *a, lines: y}]\n")
    with pytest.raises(_log_file.LogError, match="entry 1: id"):
        _log_file.cases(path)
