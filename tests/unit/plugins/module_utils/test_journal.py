# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal export reader: every entry as written, nothing from garbage."""

from __future__ import annotations

import tracemalloc

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils._journal import ENTRY_LIMIT, parse
from ansible_collections.fediops.mastodon.plugins.module_utils._journal_command import journal_arguments


def text_field(name: bytes, value: bytes) -> bytes:
    return name + b"=" + value + b"\n"


def binary_field(name: bytes, value: bytes) -> bytes:
    return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def entry(message: bytes, time: int = 1763637600000001, unit: bytes = b"mastodon-web.service", pid: bytes = b"7", **more: bytes) -> bytes:
    binary = b"\n" in message or any(c < 32 for c in message)
    fields = text_field(b"__CURSOR", b"s=1;i=2") + text_field(b"__REALTIME_TIMESTAMP", b"%d" % time) + text_field(b"_BOOT_ID", b"abc")
    fields += (binary_field if binary else text_field)(b"MESSAGE", message)
    fields += text_field(b"_SYSTEMD_UNIT", unit) + text_field(b"_PID", pid)
    for name, value in more.items():
        fields += text_field(name.encode(), value)
    return fields + b"\n"


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    position = 0
    for size in sizes:
        yield data[position : position + size]
        position += size
    yield data[position:]


@given(st.lists(st.binary(max_size=200), max_size=12), st.lists(st.integers(0, 300), max_size=20))
def test_round_trip_whatever_the_cuts(messages: list[bytes], sizes: list[int]) -> None:
    data = b"".join(entry(message, 1763637600000000 + i) for i, message in enumerate(messages))
    found = list(parse(cut(data, sizes)))
    assert [one.message for one in found] == messages
    assert [round(one.time * 1e6) for one in found] == [1763637600000000 + i for i in range(len(messages))]
    assert all(one.unit == "mastodon-web.service" and one.pid == 7 and not one.about for one in found)


@given(st.binary(max_size=2000), st.lists(st.integers(0, 300), max_size=10))
def test_garbage_never_raises(data: bytes, sizes: list[int]) -> None:
    list(parse(cut(data, sizes)))


@given(st.binary(max_size=60), st.integers(0, 400))
def test_damage_in_the_middle_never_raises(garbage: bytes, where: int) -> None:
    data = b"".join(entry(b"message\n%d" % i) for i in range(4))
    list(parse([data[:where] + garbage + data[where:]]))


def test_message_that_looks_like_an_entry() -> None:
    hostile = b"x\n\n__CURSOR=1\n__REALTIME_TIMESTAMP=1\nMESSAGE=forged\n_SYSTEMD_UNIT=root.service\n\n"
    assert [one.message for one in parse([entry(hostile) + entry(b"next")])] == [hostile, b"next"]


def test_length_bytes_that_are_newlines() -> None:
    message = b"\x1b" + b"y" * (0x0A0A - 1)
    assert [one.message for one in parse([entry(message)])] == [message]


def test_unfinished_last_entry_is_left_out() -> None:
    data = entry(b"whole") + entry(b"ha\x1blf")[:-20]
    assert [one.message for one in parse([data])] == [b"whole"]


def test_damaged_entry_does_not_lose_the_next() -> None:
    bad = b"__CURSOR=1\nMESSAGE\n" + (1 << 60).to_bytes(8, "little") + b"xxxx\n\n"
    assert [one.message for one in parse([entry(b"a") + bad + entry(b"b")])] == [b"a", b"b"]


def test_hostile_sizes_hold_no_memory() -> None:
    def chunks() -> Iterator[bytes]:
        yield entry(b"first")
        yield b"__CURSOR=1\nMESSAGE="
        for _number in range(300):
            yield b"z" * 65536
        yield b"\n\n" + entry(b"last")

    tracemalloc.start()
    found = [one.message for one in parse(chunks()) if len(one.message) < 100]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [b"first", b"last"]
    assert peak < 6 * ENTRY_LIMIT


def test_systemd_speaks_of_a_unit_and_nobody_else_does() -> None:
    own = entry(b"mastodon-web.service: Failed", unit=b"init.scope", pid=b"1", UNIT=b"mastodon-web.service")
    child = entry(b"Failed at step", unit=b"mastodon-web.service", pid=b"99", UNIT=b"mastodon-web.service", SYSLOG_IDENTIFIER=b"(bundle)")
    forged = entry(b"forged", unit=b"evil.service", pid=b"50", UNIT=b"mastodon-web.service", SYSLOG_IDENTIFIER=b"evil")
    found = list(parse([own + child + forged]))
    assert [(one.unit, one.about) for one in found] == [
        ("mastodon-web.service", True),
        ("mastodon-web.service", True),
        ("evil.service", False),
    ]


def test_absurd_numbers_are_no_entry() -> None:
    bad = entry(b"x").replace(b"__REALTIME_TIMESTAMP=1763637600000001", b"__REALTIME_TIMESTAMP=soon")
    assert list(parse([bad])) == []


def test_one_call_asks_for_units_systemd_and_the_kernel() -> None:
    words = journal_arguments(["b.service", "a.service"], 1763637600.5, 1000)
    assert words[:2] == ["journalctl", "-o"]
    assert "--since=@1763637600.500000" in words
    assert list(words[words.index("_SYSTEMD_UNIT=a.service") :])[:7] == [
        "_SYSTEMD_UNIT=a.service",
        "_SYSTEMD_UNIT=b.service",
        "+",
        "_PID=1",
        "UNIT=a.service",
        "UNIT=b.service",
        "+",
    ]
    assert words[-6] == "_TRANSPORT=kernel"
    assert not any(word.startswith("_SYSTEMD_UNIT") for word in journal_arguments([], 0.0, 10))
