# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the readers of a trace hand on: lines with their time, and what became of each source."""

from __future__ import annotations

from typing import Any, NamedTuple

MOST_HITS = 5000  # lines of one source that name the request
EARLIER_SECONDS = 600.0  # older than this before the oldest line found nothing more of a request is expected


class Record(NamedTuple):
    """One line. time: epoch, a whole number when its source knows no fractions; name: unit or path; pid: 0 when unknown."""

    time: float
    origin: str
    name: str
    pid: int
    text: str


class Span(NamedTuple):
    """A time to be read, epoch seconds."""

    since: float
    until: float


class Source:
    """A log that was searched. ``oldest``: what is older was not read, 0.0 when all of the time asked for was."""

    def __init__(self, origin: str, name: str, kind: str) -> None:
        self.origin, self.name, self.kind = origin, name, kind
        self.bytes = self.lines = self.found = 0
        self.reason = ""
        self.oldest = 0.0
        self.newest_only = False  # so many lines hold what was looked for that only the newest were taken

    def cut(self, reason: str, oldest: float) -> None:
        """Not all of it was read."""
        self.reason = self.reason or reason[:300] or "it could not be read to its end"
        self.oldest = max(self.oldest, oldest)

    def told(self) -> dict[str, Any]:
        """As the module returns it."""
        found: dict[str, Any] = {"origin": self.origin, "name": self.name, "kind": self.kind, "found": self.found}
        if self.newest_only:
            found["newest_only"] = True
        if self.reason:
            found.update(truncated=True, reason=self.reason)
            if self.oldest:
                found["oldest_epoch"] = round(self.oldest, 3)
        return found
