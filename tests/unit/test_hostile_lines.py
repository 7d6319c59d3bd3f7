# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No line keeps a regular expression busy: strangers write into logs, and one expression cannot be interrupted.

Each expression is held against lines as long as may be, of words of its own again and again: what is cubic takes minutes for such a line,
what is as it should be a few tens of milliseconds.
"""

from __future__ import annotations

import re
import time

from typing import Callable

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils import (
    _line,
    _lines,
    _lines_app,
    _lines_services,
    _lines_strangers,
    _signatures,
)
from ansible_collections.fediops.mastodon.plugins.plugin_utils import (
    _catalogue,
    _end_date,
    _json_pieces,
    _ldd,
    _log_file,
    _origins,
    _pasted,
    _redis_cli,
    _sidekiq_pages,
    _sidekiq_readings,
    _sidekiqmon,
    _wrapped,
)

MOST_SECONDS = 2.0
CATALOGUE = _catalogue.load()
ANYTHING = (" ", "a", "0", "(", "/", ".", "=", "[", '"', "aA1")
FILLERS = (" ", "a", "E")


def words(pattern: str) -> set[str]:
    """What stands in a regular expression as it is."""
    plain = re.sub(r"\\(.)", lambda match: " " if match.group(1).isalnum() else match.group(1), pattern)
    found = {word for word in re.findall(r"[A-Za-z0-9_ :/\"'=.-]+", plain) if len(word) > 1}
    return {*found, *(word + " " for word in found), *ANYTHING}


def words_of(*modules: object) -> set[str]:
    """Those of all expressions that stand in these modules."""
    patterns = [each for module in modules for each in vars(module).values() if isinstance(each, re.Pattern)]
    patterns += [*(shape for shape, _origin in _origins._SHAPES), *_wrapped._BEFORE]
    plain = (each.pattern if isinstance(each.pattern, str) else each.pattern.decode() for each in patterns)
    return {word for each in plain for word in words(each)}


def slowest(read: Callable[[str], object], of: set[str], characters: int, fillers: tuple[str, ...] = ()) -> tuple[float, str]:
    """Of lines of one word again and again, and of a word with one of the fillers behind it."""
    took = []
    for word in sorted(of):
        for filler in ("", *fillers):
            line = (word + (filler or word) * (characters // len(filler or word)))[: characters - 1] + "!"
            start = time.process_time()
            read(line)
            took.append((time.process_time() - start, word + filler))
    return max(took)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_no_line_keeps_a_signature_busy(name: str) -> None:
    for key, signature in _catalogue.signatures({name: CATALOGUE[name]}).items():
        seconds, word = slowest(re.compile(signature["match"]).search, words(signature["match"]), _signatures.TEXT_LIMIT, FILLERS)
        assert seconds < MOST_SECONDS, f"{key}: {seconds:.1f} s for a line of {word!r}"


@pytest.mark.parametrize("origin", _lines.ORIGINS)
def test_no_line_keeps_a_parser_busy(origin: str) -> None:
    of = words_of(_lines_app, _lines_services, _lines_strangers)
    seconds, word = slowest(lambda text: _lines_strangers.heard(origin, _lines.parse(origin, text)), of, _line.LIMIT, FILLERS)
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s for a line of {word!r}"


@pytest.mark.parametrize("whole", ["auto", "proxy", "sidekiq", "command"])
def test_no_line_that_was_pasted_keeps_its_reader_busy(whole: str) -> None:
    def read(text: str) -> None:
        pasted = _pasted.Pasted({}, whole)
        for line in _pasted._unquoted([text.encode()]):
            pasted.add(line)

    of = words_of(
        _lines, _pasted, _sidekiq_pages, _sidekiqmon, _sidekiq_readings, _json_pieces, _redis_cli, _ldd, _end_date, _origins, _wrapped
    )
    seconds, word = slowest(read, of, _log_file.LINE_BYTES, FILLERS)
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s for a line of {word!r}"
