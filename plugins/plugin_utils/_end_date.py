# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a certificate beside the date of the day. Private to this collection. Sources: x509(1) of OpenSSL, date(1)."""

from __future__ import annotations

import re

from ansible_collections.fediops.mastodon.plugins.module_utils._line import epoch, month_epoch

_END = re.compile(r"\s*notAfter=([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d) (\d{4}) GMT\s*\Z")
_DATE = re.compile(r"\s*[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d) ([A-Z]{3,5}) (\d{4})\s*\Z")
_ISO = re.compile(r"\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?: UTC| \+0000|Z)?)?\s*\Z")
_MOST = 100
_OTHER_ZONE_SECONDS = 14 * 3600  # as far as any is from UTC


def date_of(text: str) -> float | None:
    """Epoch of a line that is a date and nothing else, in an unknown zone the earliest it can be."""
    iso = _ISO.match(text)
    if iso:
        return epoch(f"{iso[1]} {iso[2] or '00:00:00'}", "UTC")
    date = _DATE.match(text)
    if date is None:
        return None
    found = month_epoch(date[1], int(date[2]), date[3], int(date[5]), "UTC")
    return found if found is None or date[4] in ("UTC", "GMT") else found - _OTHER_ZONE_SECONDS


class EndDate:
    """Feed ``told`` the lines of one log in their order, those that a service wrote left out."""

    def __init__(self) -> None:
        self._ends: list[float] = []
        self._now: float | None = None

    def told(self, text: str) -> str:
        """Of each certificate, once the date is known, whether it has ended for sure; else empty."""
        end, now = _END.match(text), date_of(text)
        until = month_epoch(end[1], int(end[2]), end[3], int(end[4]), "UTC") if end else None
        if until is not None and len(self._ends) < _MOST:
            self._ends.append(until)
        self._now = self._now if now is None else now
        if self._now is None or not self._ends:
            return ""
        ended = all(one <= self._now for one in self._ends)
        self._ends.clear()
        return "certificate: ended" if ended else "certificate: valid"
