# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Expressions of known issues: strict conditions, lenient texts, strangers' values."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _expressions
from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import ExpressionError, Scope, Undecided
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line, clean_text, human_bytes, human_duration
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts

KEYS = st.text(min_size=1, max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def scope(facts):
    return Scope(facts, "disk_full")


def test_true_and_false():
    assert scope({"memory": {"swap_bytes": 0}}).condition("memory.swap_bytes == 0") is True
    assert scope({"memory": {"swap_bytes": 0}}).condition("memory.swap_bytes") is False


@pytest.mark.parametrize(
    "expression",
    [
        "memory.swap_bytes == 0",
        "memory",
        "memory.a.b.c > 1",
        "disk.filesystems | selectattr('full') | list",
        "seen('x') > 0",
        "units('web') | length",
    ],
)
def test_an_absent_fact_is_undecided(expression):
    with pytest.raises(Undecided):
        scope({"disk": {}}).condition(expression)


def test_a_fact_of_another_kind_is_undecided():
    with pytest.raises(Undecided, match="TypeError"):
        scope({"memory": {"swap_bytes": None}}).condition("memory.swap_bytes > 3")


def test_defined_is_decided():
    assert scope({"memory": {}}).condition("memory.swap_bytes is not defined") is True


def test_a_key_wins_over_a_method_of_dict():
    assert scope({"disk": {"items": 3, "count": 4}}).condition("disk.items == 3 and disk.count == 4") is True


def test_functions():
    facts = hosts.broken()
    facts["logs"]["signatures"]["other.sig"] = {"count": 2}
    assert scope(facts).condition("seen('pg_diskfull') == 214 and seen('other.sig') == 2 and seen('never') == 0")
    assert scope(facts).condition("units('web') | length == 1 and probe('disk') == 'ok' and probe('nothing') == 'skipped'")


@pytest.mark.parametrize(
    "expression",
    [
        "''.__class__.__mro__",
        "disk.update({'a': 1})",
        "'a' * 100000000",
        "2 ** 100000",
        "range(999999999) | list",
        "units.__globals__",
        "seen.__self__._facts",
        "lookup('pipe', 'id')",
    ],
)
def test_the_sandbox_holds(expression):
    with pytest.raises((Undecided, ExpressionError)):
        _expressions.check(expression, text=False)
        scope({"disk": {}}).condition(expression)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("databse.reachable", '"databse" is not the name of a fact'),
        ("disk.filesystems | selectatr('full')", 'no filter "selectatr"'),
        ("disk is defind", 'no test "defind"'),
        ("disk.filesystems |", "not valid Jinja2"),
        ("disk }} and {{ disk", "not valid Jinja2"),
        ("seen('nope') > 0", "names no signature"),
        ("seen(disk)", "one quoted name"),
        ("units('wbe')", "names no role"),
        ("probe('databse')", "names no subset"),
    ],
)
def test_mistakes_are_found_before_they_are_used(expression, reason):
    with pytest.raises(ExpressionError, match=reason.replace("(", r"\(")):
        _expressions.check(expression, text=False, signatures={"disk_full.x"}, issue="disk_full")


def test_texts_render_missing_facts_empty():
    empty = scope({})
    assert empty.text("a {{ database.address }} b") == "a  b"
    assert empty.text("{{ disk.size | bytes }}{{ (memory.x / 3) | round | int }}") == "0"
    assert empty.text("{{ 'x' | nothing_like_this }}") == ""


def test_what_was_rendered_is_not_rendered_again():
    value = "{{ 7 * 7 }} {% raw %}"
    assert scope({"database": {"address": value}}).text("at {{ database.address }}") == f"at {value}"


def test_newlines_of_a_value_do_not_make_lines():
    assert scope({"database": {"address": "a\nrm -rf /\r\nb"}}).text("one {{ database.address }}\ntwo") == "one a rm -rf / b\ntwo"


@given(JSON)
def test_no_value_breaks_a_text_or_gets_through_uncleaned(value):
    text = scope({"database": value, "disk": {"filesystems": value}}).text(
        "{{ database }} {{ database.a }} {{ disk.filesystems | first }} {{ database | bytes }} {{ database | length }}"
    )
    assert len(text) <= 4000
    assert text == clean_text(text)


@given(JSON)
def test_no_value_breaks_a_condition(value):
    try:
        answer = scope({"database": value}).condition("database.reachable and database.connections.used_percent > 90")
    except Undecided:
        return
    assert answer in (True, False)


@given(st.text())
def test_cleaned_text_holds_nothing_that_steers(text):
    line = clean_line(text)
    assert len(line) <= 400
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
    assert not set(line) & set("\u202e\u2066\u2069\u200b\u200f\ufeff")
    assert line == clean_line(line)
    line.encode("utf-8")


def test_terminal_sequences_go_as_a_whole():
    assert clean_line("\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \x9b2Jx") == "red link x"


@pytest.mark.parametrize(("value", "shown"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 kB"), (80 << 30, "80 GB"), (1 << 50, "1024 TB")])
def test_bytes(value, shown):
    assert human_bytes(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.25, "250 ms"), (3, "3 s"), (3.14, "3.1 s"), (300, "5 min"), (93784, "1 d 2 h"), (3605, "1 h"), (-120, "-2 min")]
)
def test_duration(value, shown):
    assert human_duration(value) == shown


SEEN = {"count": 3, "first_epoch": 900.0, "last_epoch": 950.0, "samples": [{"origin": "web", "text": "x"}]}


def logged(since_epoch: float, **logs):
    unit = {"name": "mastodon-web.service", "role": "web", "pid": 7, "since_epoch": since_epoch}
    return {
        "time_epoch": 1000.0,
        "services": {"units": [unit]},
        "install": {"roles": ["web"]},
        "logs": {"signatures": {"disk_full.a": SEEN}, **logs},
    }


def test_lines_from_before_the_last_start_are_not_fresh():
    assert scope(logged(since_epoch=800.0)).fresh("a") == 3
    assert scope(logged(since_epoch=960.0)).fresh("a") == 0
    assert scope(logged(since_epoch=960.0)).seen("a") == 3
    assert scope(logged(since_epoch=800.0)).fresh("never") == 0


@pytest.mark.parametrize(("since_epoch", "restarts", "count"), [(960.0, 0, 0), (960.0, 7, 3), (920.0, 7, 3), (945.0, 1, 3), (930.0, 0, 3)])
def test_what_is_started_again_and_again_is_not_mended_by_that(since_epoch: float, restarts: int, count: int):
    facts = logged(since_epoch=since_epoch)
    facts["services"]["units"][0]["restarts"] = restarts
    assert scope(facts).fresh("a") == count
    facts["time_epoch"] = 1100.0  # it has been up for long
    assert scope(facts).fresh("a") == (3 if since_epoch <= 950.0 else 0)


def test_age_of_a_signature():
    assert scope(logged(since_epoch=0.0)).age("a") == 50.0
    assert scope(logged(since_epoch=0.0)).age("never") > 1e6


def test_a_log_that_nobody_read_is_not_a_silent_one():
    def ask(origins, read):
        return Scope(logged(since_epoch=0.0, read_origins=read), "disk_full", {"never": origins}).condition("seen('never') > 0")

    assert ask(["web"], ["web", "kernel"]) is False
    assert ask(["web", "sidekiq"], ["web"]) is False
    assert ask(["proxy"], []) is False  # no proxy on this host: nothing to be read
    with pytest.raises(Undecided, match="no log of web was read"):
        ask(["web", "command"], ["kernel"])
