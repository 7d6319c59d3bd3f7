# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dotenv as the Ruby gem reads it.

The values expected here were printed by Dotenv::Parser of ruby-dotenv 2.4.0 (Debian), but for quotes over several lines, which the
gem knows since 2.8 (its changelog); Mastodon 4.0 and newer use that or later. What 2.8 and 3.1 do otherwise is read in their parser.rb.
"""

from __future__ import annotations

import time

import pytest

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv import MAX_FILE_BYTES, UNKNOWN_VALUE, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\n", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("export A=1\n", {"A": "1"}),
        ("A: 1\n", {"A": "1"}),
        ("A = 1\n", {"A": "1"}),
        ("A=\n", {"A": ""}),
        ("# A=1\n\n  # x\nB=2", {"B": "2"}),
        ("A=1 # why\n", {"A": "1"}),
        ("A='a # b'\n", {"A": "a # b"}),
        ("A='$B'\nB=2\n", {"A": "$B", "B": "2"}),
        ("A=pa$5word\n", {"A": "pa"}),
        ("A=pa$5_word\n", {"A": "pa"}),
        ("A=$5\n", {"A": ""}),
        ("A=${5a}\n", {"A": ""}),
        ("A=${X\n", {"A": ""}),
        ("A=a${Xb\n", {"A": "a"}),
        ("A=a$\n", {"A": "a$"}),
        ("A=a${}\n", {"A": "a${}"}),
        ("B=1\nA=${B:-2}\n", {"B": "1", "A": "1:-2}"}),
        ("A=a\\$B\n", {"A": "a$B"}),
        ('A="a\\$B"\n', {"A": "a$B"}),
        ('A="a\\tb"\n', {"A": "atb"}),
        ("A='a$(echo hi)b'\n", {"A": "a$(echo hi)b"}),
        ("A=`id`\n", {"A": "`id`"}),
        ("1A=2\n", {"1A": "2"}),
        ("A=1\nB=${A}2\nC=$A\n", {"A": "1", "B": "12", "C": "1"}),
        ('A="two\nlines"\nB=2\n', {"A": "two\nlines", "B": "2"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("A=with spaces in it\n", {"A": "with spaces in it"}),
    ],
)
def test_values(text: str, expected: dict[str, str]) -> None:
    parsed = parse(text.encode())
    assert parsed.values == expected
    assert parsed.problems == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=a\\nb", ("a\\nb", "anb", "anb")),
        ("A=pa\\\\ss", ("pa\\\\ss", "pa\\ss", "pa\\ss")),
        ('A="x\\ny"', ("x\ny", "x\ny", "x\\ny")),
        ('DOTENV_LINEBREAK_MODE=legacy\nA="x\\ny"', ("x\ny", "x\ny", "x\ny")),
        ("A='a\\nb'", ("a\\nb", "a\\nb", "a\\nb")),
    ],
)
def test_values_that_depend_on_the_version_of_the_gem(text: str, values: tuple[str, str, str]) -> None:
    assert tuple(parse(text.encode(), gem=gem).values["A"] for gem in ((2, 7), (2, 8), (3, 1))) == values


@pytest.mark.parametrize("text", ["A=a$(touch x)b", 'A="a$(touch x)b"', "A=a$(touch $(echo x))b"])
def test_a_command_is_not_carried_out_and_its_value_is_not_known(text: str) -> None:
    parsed = parse(b"B=1\n" + text.encode())
    assert [(each.line, each.reason) for each in parsed.problems] == [(2, UNKNOWN_VALUE % "A")]
    assert "$(touch" in parsed.values["A"]


def test_an_escaped_command_is_text() -> None:
    parsed = parse(b"A=a\\$(echo hi)b\n")
    assert (parsed.values, parsed.problems) == ({"A": "a$(echo hi)b"}, [])


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"A=1\nB='hidden\nC=3\n", 2, "never closed"),
        (b'A="hidden\nSECRET_KEY_BASE=hidden\nB="\n', 1, "swallows later lines"),
        (b"A=1\nB='x' hidden\n", 2, "follows the closing quote"),
        (b"A=1\nthis is hidden\n", 2, "neither KEY=value"),
        (b"A=1\nB=\xff\xfe\n", 2, "not UTF-8"),
        ("\ufeffA=1\n".encode(), 1, "byte order mark"),
    ],
)
def test_problems_name_the_line_and_no_value(data: bytes, line: int, words: str) -> None:
    problems = parse(data).problems
    assert any(each.line == line and words in each.reason for each in problems), problems
    assert not any("hidden" in each.reason for each in problems)


def test_a_huge_file_is_read_in_part_and_quickly() -> None:
    begin = time.monotonic()
    parsed = parse(b"A=1\n" + b"x" * (100 << 20))
    assert "larger than" in parsed.problems[0].reason
    assert parsed.values == {"A": "1"}
    assert time.monotonic() - begin < 5


@given(st.binary(max_size=2000))
def test_never_raises(data: bytes) -> None:
    parse(data)


@given(st.text(alphabet="AB='\"\\$# \n{}", max_size=400))
def test_quotes_of_every_kind_never_raise_and_take_no_square_time(text: str) -> None:
    parse((text * 3).encode())


KEYS = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)


@given(st.dictionaries(KEYS, st.text(alphabet="abc 019_-/:.@", max_size=40).map(str.strip), max_size=10))
def test_round_trip_of_plain_values(values: dict[str, str]) -> None:
    text = "".join(f"{key}='{value}'\n" for key, value in values.items())
    assert parse(text.encode()).values == values


def test_a_file_of_open_quotes_takes_no_square_time() -> None:
    data = b"A='x\n" * (MAX_FILE_BYTES // 5 - 1)
    begin = time.process_time()  # of this process alone: others may keep the machine busy
    parse(data)
    assert time.process_time() - begin < 5
