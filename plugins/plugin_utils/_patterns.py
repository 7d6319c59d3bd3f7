# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Regular expressions of known issues: those that could hang a host are refused. Private to this collection."""

from __future__ import annotations

import functools
import re
import typing as t


# The parser of re itself: nothing else knows exactly what re will do. Its name is the same in Python 3.11 to 3.14.
from re import _parser  # type: ignore[attr-defined]

from ansible_collections.fediops.mastodon.plugins.module_utils import _signatures

MANY = 16  # a repeat that may run more often than this counts as unbounded
MAX_LENGTH = 1000
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
_NOT_ON_38 = {"POSSESSIVE_REPEAT": "possessive quantifiers", "ATOMIC_GROUP": "atomic groups"}


def problem(pattern: str) -> str | None:
    """Why a pattern cannot be used on a host, or None."""
    if len(pattern) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    try:
        tree = _parsed(pattern)
        found = _walk(tree, repeated=False)
        # Compiling costs as much as all else here, and tells only what is asked below.
        empty = not found and (tree.getwidth()[0] == 0 or "(?<" in pattern) and re.compile(pattern).search("") is not None
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression ({error})"
    if found:
        return found
    return "matches every line, even an empty one" if empty else None


def literals(pattern: str) -> list[str]:
    """Texts of which a line must have one for the pattern to match; none when that cannot be told."""
    return list(_signatures.literals(pattern, _parsed(pattern)))


@functools.lru_cache(maxsize=1)
def _parsed(pattern: str) -> t.Any:
    """For both questions about a pattern."""
    return _parser.parse(pattern)


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
