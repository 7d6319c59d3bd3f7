# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures: the quick way finds exactly what the regular expressions alone would find, and counts failures once."""

from __future__ import annotations

import re

import pytest

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils._redact import Redactor
from ansible_collections.fediops.mastodon.plugins.module_utils._signatures import IDS_LIMIT, TEXT_LIMIT, Matcher, literals


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"PG::Undefined(Column|Table)", ("PG::Undefined",)),
        (r"upstream timed out \(110", ("upstream timed out (110",)),
        (r"^(?:abcdef|ghijkl) x", ("abcdef", "ghijkl")),
        (r"(?i)no space left", ()),
        (r"(?i:no space) left", (" left",)),
        (r"a*b?c{0,3}", ()),
        (r"(?:abcd)+", ("abcd",)),
        (r"(?:abcd)?", ()),
        (r"(?:abcd)?efg", ("efg",)),
        (r"abcd|", ()),
        (r"(?!abcd)efgh", ("efgh",)),
        (r"(?<=abcd)efg", ("efg",)),
        (r"[abc]def", ("def",)),
        (r"[x]yz", ("xyz",)),
        (r"(?x) a b c d", ()),
        (r"(", ()),
        (r"\d+ foo \w+ longer", (" longer",)),
    ],
)
def test_literals(pattern: str, expected: tuple[str, ...]) -> None:
    assert literals(pattern) == expected


ATOM = st.sampled_from(
    [
        "abc",
        "b",
        "c.",
        "[ab]c",
        "(?:ab|c)",
        "(a|bcd)",
        "a?",
        "(?:abc)*",
        "(?:ab){2}",
        "a+?",
        "^",
        "$",
        r"\b",
        r"\w",
        "(?i:ab)",
        "(?=a)",
        "(?!b)",
        "(?P<n>abc)?",
        "(?-i:abc)",
        "x{0,2}",
        "(?:|abc)",
    ]
)


@given(st.lists(ATOM, max_size=6).map("".join), st.text("abcdxAB ", max_size=12))
def test_every_match_has_a_literal(pattern: str, text: str) -> None:
    try:
        regex = re.compile(pattern)
    except re.error:
        return
    needed = literals(pattern)
    if needed and regex.search(text):
        assert any(literal in text for literal in needed)


SIGNATURES = {
    "one.column": {"in": ["web", "sidekiq"], "match": r"PG::Undefined(?:Column|Table)"},
    "two.space": {"in": ["web", "database"], "match": r"No space left"},
}


def test_only_the_origins_of_a_signature() -> None:
    matcher = Matcher(SIGNATURES)
    assert matcher.match("web", "PG::UndefinedColumn No space left") == ["one.column", "two.space"]
    assert matcher.match("sidekiq", "PG::UndefinedColumn No space left") == ["one.column"]
    assert matcher.match("proxy", "PG::UndefinedColumn No space left") == []


def test_one_request_counts_once() -> None:
    matcher = Matcher(SIGNATURES)
    for at in (5.0, 4.0, 6.0):
        matcher.see("web", "w.service", at, "PG::UndefinedColumn", "request-1")
    matcher.see("web", "w.service", 7.0, "PG::UndefinedTable", "request-2")
    matcher.see("web", "w.service", 8.0, "PG::UndefinedTable")
    matcher.see("web", "w.service", 9.0, "PG::UndefinedTable")
    found = matcher.result(Redactor())["one.column"]
    assert (found["count"], found["first_epoch"], found["last_epoch"]) == (4, 5.0, 9.0)
    assert [one["time_epoch"] for one in found["samples"]] == [5.0, 8.0, 9.0]


def test_samples_are_redacted_and_bounded() -> None:
    matcher = Matcher(SIGNATURES)
    matcher.see("web", "w.service", 1.0, "No space left password=hunter2222 sekrit-value " + "x" * 500)
    sample = matcher.result(Redactor(["sekrit-value"]))["two.space"]["samples"][0]
    assert sample["origin"] == "web"
    assert sample["name"] == "w.service"
    assert "hunter2222" not in sample["text"]
    assert "sekrit" not in sample["text"]
    assert len(sample["text"]) <= 300


def test_a_broken_signature_stops_no_other() -> None:
    matcher = Matcher({"bad.regex": {"in": ["web"], "match": "("}, "bad.shape": {"in": ["web"]}, **SIGNATURES})
    assert set(matcher.broken) == {"bad.regex", "bad.shape"}
    assert matcher.match("web", "No space left") == ["two.space"]


def test_literals_of_the_controller_are_taken_and_the_expression_is_compiled_when_a_line_has_one() -> None:
    matcher = Matcher({"bad.regex": {"in": ["web"], "match": "space(", "literals": ["space"]},
                       "odd.shape": {"in": ["web"], "match": "space", "literals": 3}, **SIGNATURES})  # fmt: skip
    assert set(matcher.broken) == {"odd.shape"}
    assert matcher.match("web", "a word") == []
    assert matcher.match("web", "No space left") == matcher.match("web", "No space left") == ["two.space"]
    assert set(matcher.broken) == {"bad.regex", "odd.shape"}


def test_memory_of_requests_is_bounded() -> None:
    matcher = Matcher(SIGNATURES)
    for number in range(IDS_LIMIT + 100):
        matcher.see("web", "w", float(number), "No space left", str(number))
    assert len(matcher._ids) == IDS_LIMIT
    assert matcher.result(Redactor())["two.space"]["count"] == IDS_LIMIT + 100


def test_only_the_start_of_a_message_is_searched() -> None:
    matcher = Matcher(SIGNATURES)
    assert matcher.match("web", "x" * TEXT_LIMIT + "No space left") == []


@given(
    st.lists(st.text("abé語 ", min_size=1, max_size=12), min_size=1, max_size=12),
    st.text("abé語 \udc80", max_size=30),
    st.integers(min_value=0, max_value=12),
)
def test_no_literal_is_passed_over_wherever_it_stands(known: list[str], text: str, chosen: int) -> None:
    for at in range(5):
        line = "x" * at + text + known[chosen % len(known)] + text
        matcher = Matcher({f"issue.{number}": {"in": ["web"], "match": re.escape(one)} for number, one in enumerate(known)})
        assert matcher.match("web", line) == [f"issue.{number}" for number, one in enumerate(known) if one in line]
