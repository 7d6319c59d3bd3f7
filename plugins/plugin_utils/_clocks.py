# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host's clock beside those of other servers. Private to this collection. Sources: date(1), RFC 9110 (Date)."""

from __future__ import annotations

import collections
import re

from ansible_collections.fediops.mastodon.plugins.module_utils._line import month_epoch
from ansible_collections.fediops.mastodon.plugins.plugin_utils._end_date import date_of

_HEADER = re.compile(r"\s*[Dd]ate: [A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d:\d\d:\d\d) GMT\s*\Z")
_UTC = re.compile(r".* (?:UTC|GMT) \d{4}\s*\Z")
_NEAR_LINES = 4  # asked in one go
_WRONG_SECONDS, _ALIKE_SECONDS = 600.0, 60.0


class Clocks:
    """Feed ``told`` the lines of one log in their order, those that a service wrote left out."""

    def __init__(self) -> None:
        self._line = 0
        self._here: tuple[int, float] | None = None  # line, epoch
        self._there: collections.deque[tuple[int, float]] = collections.deque(maxlen=2)

    def told(self, text: str) -> str:
        """When the host is behind a server, or ahead of two that agree: what a cache keeps has a date of the past; else empty."""
        self._line += 1
        header, here = _HEADER.match(text), date_of(text) if _UTC.match(text) else None
        there = month_epoch(header[2], int(header[1]), header[4], int(header[3]), "UTC") if header else None
        if here is not None:
            self._here = self._line, here
        if there is not None:
            self._there.append((self._line, there))
        if here is None and there is None or self._here is None:
            return ""
        near = [epoch for line, epoch in self._there if abs(line - self._here[0]) < _NEAR_LINES]
        behind = any(epoch - self._here[1] > _WRONG_SECONDS for epoch in near)
        agree = len(near) > 1 and abs(near[0] - near[1]) < _ALIKE_SECONDS
        return "clock: not that of other servers" if behind or agree and self._here[1] - near[0] > _WRONG_SECONDS else ""
