# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set and remove keys of a dotenv file, all else in it kept to the byte (private, may change any time).

Within one file the last definition of a key wins, so that one is edited. How a value must be written depends on its characters and on the
version of the gem: each way is tried, and taken only when the gem's rules (`_dotenv.py`) read back just what was asked for and every other
key as before. Streaming reads the same file by the npm package, to which a backslash in double quotes means itself: hence single quotes.
"""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv import _DOUBLE, _REST, _SINGLE, _START, _definition, _Reading, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PLAIN = re.compile(r"^[\w./:@%+,=*?&;~!^-]*$", re.ASCII)


class EditError(Exception):
    """One sentence; holds no value."""


class Entry(NamedTuple):
    """Where a definition stands: the whole of it, and its value with quotes."""

    key: str
    line: int
    start: int
    end: int
    value_start: int
    value_end: int


def edited(text: str, wanted: Mapping[str, str], unwanted: Iterable[str] = (), gem: tuple[int, int] = (3, 1)) -> str:
    """The text with these keys set and those removed; EditError when it cannot be proven to be read as asked."""
    result = text
    for key in sorted(unwanted):
        result = _without(result, key, gem)
    for key, value in wanted.items():
        if parse(result.encode("utf-8", "surrogateescape"), {}, gem).values.get(key) != value:
            result = _with(result, key, value, gem)
    _prove(text, result, wanted, unwanted, gem)
    return result


def entries(text: str, gem: tuple[int, int] = (3, 1)) -> list[Entry]:
    """Every definition, in the order of the file."""
    reading = _Reading({}, [], {}, gem)
    position, line = (1 if text.startswith("\ufeff") else 0), 1
    found = []
    while position < len(text):
        end = _definition(text, position, line, reading)
        end_of_line = text.find("\n", position)
        following = len(text) if end_of_line < 0 else end_of_line + 1
        start = None if text[position:following].strip().startswith("#") else _START.match(text, position, following)
        if start is not None:
            found.append(Entry(start.group(1), line, position, end, start.end(), _end_of_value(text, start.end(), end)))
        line += text.count("\n", position, end)
        position = end
    return found


def _end_of_value(text: str, start: int, end: int) -> int:
    for quote, form in (("'", _SINGLE), ('"', _DOUBLE)):
        quoted = form.match(text, start) if text.startswith(quote, start) else None
        if quoted is not None and _REST.match(text, quoted.end()):
            return quoted.end()
    return start + len(text[start:end].split("#", 1)[0].rstrip())


def _without(text: str, key: str, gem: tuple[int, int]) -> str:
    for entry in reversed(entries(text, gem)):
        if entry.key == key:
            text = text[:entry.start] + text[entry.end:]
    return text


def _with(text: str, key: str, value: str, gem: tuple[int, int]) -> str:
    entry = next((each for each in reversed(entries(text, gem)) if each.key == key), None)
    if entry is None:
        begin = text + ("\n" if text and not text.endswith("\n") else "") + key + "="
        rest, before = "\n", ""
    else:
        begin, rest, before = text[:entry.value_start], text[entry.value_end:], text[entry.value_start:entry.value_start + 1]
        if begin.endswith(":"):
            begin += " "
    for form in _forms(value, before):
        result = begin + form + rest
        read = parse(result.encode("utf-8", "surrogateescape"), {}, gem)
        if read.values.get(key) == value:
            return result
    raise EditError("the value asked for %s cannot be written so that this version of Mastodon reads it as it is; see its quotes, dollar "
                    "signs, backslashes and line breaks" % key)


def _forms(value: str, quote: str) -> list[str]:
    """Ways to write a value, best first: as the old one was quoted when that needs no escapes, bare, in single quotes, in double quotes."""
    forms = []
    if quote in ("'", '"') and not re.search(r"[\\$'\"]", value):
        forms.append(quote + value + quote)
    if _PLAIN.match(value):
        forms.append(value)
    if "'" not in value:
        forms.append("'" + value + "'")
    forms.append('"' + re.sub(r'([\\"$])', r"\\\1", value) + '"')
    return forms


def _prove(before: str, after: str, wanted: Mapping[str, str], unwanted: Iterable[str], gem: tuple[int, int]) -> None:
    old = parse(before.encode("utf-8", "surrogateescape"), {}, gem).values
    new = parse(after.encode("utf-8", "surrogateescape"), {}, gem).values
    touched = {*wanted, *unwanted}
    for key, value in wanted.items():
        if new.get(key) != value:
            raise EditError("%s would not be read as it was asked for" % key)
    for key in unwanted:
        if key in new:
            raise EditError("%s would still be read" % key)
    # What refers to another key (${DB_HOST}) follows it.
    referring = {entry.key for entry in entries(before, gem) if "$" in before[entry.value_start:entry.value_end]}
    for key in sorted({*old, *new} - touched - referring):
        if old.get(key) != new.get(key):
            line = next((entry.line for entry in entries(before, gem) if entry.key == key), 0)
            raise EditError("%s (line %d) would be read differently: a quote before it is probably not closed; correct that first" % (
                key, line))
