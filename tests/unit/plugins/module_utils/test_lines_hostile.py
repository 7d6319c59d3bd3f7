# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines that strangers make up: no text raises, and none takes long."""

from __future__ import annotations

import time

import pytest

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils._lines import ORIGINS, parse, strip_prefix

PIECES = st.sampled_from(
    [
        "method=GET path=/ status=",
        "500",
        " error='X::Y: z",
        "[",
        "]",
        "I, [2026-01-02T03:04:05.6 #1]  INFO -- : ",
        "{",
        '{"log":',
        '"level":',
        ": ",
        "2026-01-02T03:04:05.678Z pid=1 tid=a ",
        "WARN",
        "ERR! ",
        "A::B (",
        "):",
        "Caused by: ",
        "2026/01/02 03:04:05 [error] 1#1: ",
        " 02 Jan 2026 ",
        "oom-kill:constraint=",
        ",pid=99999999999999999999,uid=1",
        "Killed process ",
        "context=Job raised exception job={",
        "}: ",
        "\x1b[31m",
        "FEHLER: ",
        "9999-99-99 99:99:99.9 UTC [1] ",
        '[99/Foo/9999:99:99:99 +9999] "GET / HTTP" 999 ',
        "Feb 31 23:59:60 h x[1]: ",
        "\x00",
        "é",
    ]
)


@given(st.one_of(st.text(max_size=300), st.lists(st.one_of(PIECES, st.text(max_size=10)), max_size=12).map("".join)))
def test_no_text_raises(text: str) -> None:
    stripped = strip_prefix(text)
    for origin in ORIGINS:
        for one in (text, stripped.text):
            line = parse(origin, one)
            assert isinstance(line.text, str)
            assert line.time is None or isinstance(line.time, float)


@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes) -> None:
    for origin in ORIGINS:
        parse(origin, data.decode("utf-8", "ignore"))


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "::A",
        "A::",
        "(",
        " (",
        "=",
        "method=x path=y ",
        "'",
        "/",
        "lib/",
        "a.rb:1:in `",
        "[",
        "[1] ",
        "\x1b[",
        '"',
        "x=y ",
        "x=",
        ', request: "',
        "class=",
        "}: ",
        "Caused by: A (",
        "1 ",
        "error='A: ",
    ],
)
def test_hostile_lines_take_no_time(origin: str, piece: str) -> None:
    begin = time.process_time()
    parse(origin, (piece * 100000)[:100000])
    for head in (
        "method=GET path=/ status=500 error='A::B: ",
        "2026-01-02T03:04:05.678Z pid=1 tid=a ",
        "INFO 2026-01-02T03:04:05.678Z pid=1 tid=a ",
        "A::Error (",
        "ERROR:  ",
    ):
        parse(origin, head + (piece * 9000)[:9000])
    assert time.process_time() - begin < 0.5
