# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Regular expressions of known issues: those that could hang a host are refused. Private to this collection."""

from __future__ import annotations

import re
import typing as t


# The parser of re itself: nothing else knows exactly what re will do. Its name is the same in Python 3.11 to 3.14.
from re import _parser  # type: ignore[attr-defined]

MANY = 16  # a repeat that may run more often than this counts as unbounded
MAX_LENGTH = 1000
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
_NOT_ON_38 = {"POSSESSIVE_REPEAT": "possessive quantifiers", "ATOMIC_GROUP": "atomic groups"}


def problem(pattern: str) -> str | None:
    """Why a pattern cannot be used on a host, or None."""
    if len(pattern) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    try:
        compiled = re.compile(pattern)
        found = _walk(_parser.parse(pattern), repeated=False)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression ({error})"
    if found:
        return found
    return "matches every line, even an empty one" if compiled.search("") else None


def _walk(tokens: t.Iterable[t.Any], *, repeated: bool) -> str | None:
    for code, argument in tokens:
        name = str(code)
        if name in _NOT_ON_38:
            return f"uses {_NOT_ON_38[name]}, which Python 3.8 on a host does not know"
        if name in _REPEATS:
            low, high, inner = argument
            many = int(high) > MANY
            if many and repeated and int(low) != int(high):
                return "has a quantifier inside a repeated group, which can take for ever on a long line; repeat only one of them"
            result = _walk(inner, repeated=repeated or many)
        else:
            result = next(filter(None, (_walk(part, repeated=repeated) for part in _groups(argument))), None)
        if result:
            return result
    return None


def _groups(argument: t.Any) -> t.Iterator[t.Any]:
    """Every sub-pattern in the argument of a token, however re nests it."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for part in argument:
            yield from _groups(part)
