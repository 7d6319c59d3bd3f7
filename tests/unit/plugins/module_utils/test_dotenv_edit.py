# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dotenv file after an edit: what was asked for is read, all else is there to the byte, and what cannot be is refused."""

from __future__ import annotations

import random

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv_edit import EditError, edited

GEMS = ((2, 7), (2, 8), (3, 1))
FILE = """# Mastodon
LOCAL_DOMAIN=example.org   # for ever
export DB_HOST = '/var/run/postgresql'
DB_PASS="p w"
MANY="one
two"

URL=postgres://$DB_HOST/x
OTHER: yaml
"""


@pytest.mark.parametrize("gem", GEMS)
def test_only_the_value_changes(gem: tuple[int, int]) -> None:
    after = edited(FILE, {"LOCAL_DOMAIN": "a.example", "DB_HOST": "db1", "OTHER": "x", "DB_PASS": "q r"}, (), gem)
    assert after == FILE.replace("example.org", "a.example").replace("'/var/run/postgresql'", "'db1'").replace("yaml", "x").replace(
        "p w", "q r"
    )


@pytest.mark.parametrize("gem", GEMS)
def test_a_new_key_stands_at_the_end_and_goes_without_a_trace(gem: tuple[int, int]) -> None:
    for text in (FILE, FILE.rstrip("\n"), ""):
        after = edited(text, {"NEW": "1"}, (), gem)
        assert after.endswith("NEW=1\n") and after.startswith(text)
        assert edited(after, {}, ["NEW"], gem).rstrip("\n") == text.rstrip("\n")


def test_all_definitions_of_a_removed_key_go_and_the_last_one_is_edited() -> None:
    text = "A=1\nB=2\nA=3\n"
    assert edited(text, {"A": "4"}) == "A=1\nB=2\nA=4\n"
    assert edited(text, {}, ["A"]) == "B=2\n"
    assert edited("# A=1\nA=2\n", {"A": "3"}) == "# A=1\nA=3\n"


@pytest.mark.parametrize("gem", GEMS)
def test_any_value_is_read_back_or_refused(gem: tuple[int, int]) -> None:
    pieces = ["a", " ", "$", "${X}", "'", '"', "\\", "#", "\n", "=", "$(id)", "é", "\t", "\\n", "}"]
    chance = random.Random(4)
    refused = 0
    for _round in range(2000):
        value = "".join(chance.choice(pieces) for _piece in range(chance.randrange(0, 6)))
        try:
            after = edited(FILE, {"DB_PASS": value}, (), gem)
        except EditError as problem:
            refused += 1
            assert value not in str(problem) or len(value) < 3
            continue
        read, before = parse(after.encode(), {}, gem).values, parse(FILE.encode(), {}, gem).values
        assert read.pop("DB_PASS") == value and before.pop("DB_PASS") and read == before, (value, after)
    assert refused < 1000, refused


def test_what_stands_behind_an_open_quote_is_not_broken() -> None:
    text = 'A="open\nB=2\nC="closed"\n'
    for key, value in (("B", "x'y"), ("C", "1"), ("NEW", "1")):
        try:
            after = edited(text, {key: value})
        except EditError:
            continue
        read, before = parse(after.encode()).values, parse(text.encode()).values
        assert {name: read.get(name) for name in before if name != key} == {name: before[name] for name in before if name != key}
