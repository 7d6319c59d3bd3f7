# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of a known issue's file: what was asked for, or one sentence that names the key. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

_MOST_ENTRIES = 50
_MOST_CHARACTERS = 4000


class IssueError(ValueError):
    """What is wrong with a known issue: the key, and the reason."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f'key "{key}": {reason}')


def quoted(value: t.Any) -> str:
    """A wrong value as a message shows it."""
    return f'"{clean_line(value, 80)}"'


def keys(data: t.Any, key: str, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> None:
    """A mapping with these keys and no other; `key` is the mapping's own, empty for the whole file."""
    if not isinstance(data, dict):
        raise IssueError(key or "(whole file)", f"must be a mapping of {', '.join(required + optional)}")
    allowed, prefix = required + optional, f"{key}." if key else ""
    for name in data:
        if name not in allowed:
            raise IssueError(f"{prefix}{clean_line(name, 80)}", f"is not a known key; allowed are {', '.join(allowed)}")
    for name in required:
        if name not in data:
            raise IssueError(f"{prefix}{name}", "is missing")


def string(value: t.Any, key: str) -> str:
    """Text that is neither empty nor endless."""
    if not isinstance(value, str):
        raise IssueError(key, f"must be text, not {quoted(value)}; quote it")
    if not value.strip():
        raise IssueError(key, "is empty")
    if len(value) > _MOST_CHARACTERS:
        raise IssueError(key, f"is longer than {_MOST_CHARACTERS} characters")
    return value


def entries(value: t.Any, key: str) -> list[t.Any]:
    """A list that is not endless."""
    if not isinstance(value, list):
        raise IssueError(key, f"must be a list, not {quoted(value)}")
    if len(value) > _MOST_ENTRIES:
        raise IssueError(key, f"has more than {_MOST_ENTRIES} entries")
    return value


def one_of(value: t.Any, key: str, choices: tuple[str, ...]) -> str:
    """One of these words."""
    if not isinstance(value, str) or value not in choices:
        raise IssueError(key, f"{quoted(value)} is not one of {', '.join(choices)}")
    return value


def boolean(value: t.Any, key: str) -> bool:
    """True or false, not a text that looks like it."""
    if not isinstance(value, bool):
        raise IssueError(key, f"must be true or false, not {quoted(value)}")
    return value
