# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sidekiqmon prints, of which two places must be held against each other. Private to this collection.

Source: lib/sidekiq/monitor.rb of Sidekiq 6 to 8.
"""

from __future__ import annotations

import re

_SECTION = re.compile(r"-{4} (\w+)(?: \((\d{1,6})\))? -{4}\s*\Z")
_TAKEN = re.compile(r"\s*Queues: *(.*)")  # a long list goes on in the next lines
_OTHER = re.compile(r"\s*(?:[A-Z]\w*:\s|\Z|\S+:\d+:\w+)")
_QUEUE = re.compile(r"(\w+) +[1-9][\d,]* +\d[\d.,]*\s*\Z")


class Sidekiqmon:
    """Feed ``told`` the lines of one log in their order."""

    def __init__(self) -> None:
        self._section = ""
        self._taken: set[str] = set()
        self._listing = False
        self._unlisted = 0  # processes whose queues are not shown

    def told(self, text: str) -> str:
        """Of a queue with jobs that none of the processes takes: what Mastodon's own dashboard says of it. Else empty."""
        section = _SECTION.match(text)
        if section:
            self._section = section[1]
            if self._section == "Processes":
                self._taken.clear()
                self._unlisted = int(section[2] or 0)
        taken = _TAKEN.match(text) if self._section == "Processes" else None
        self._listing = taken is not None or self._listing and section is None and _OTHER.match(text) is None
        self._unlisted -= taken is not None
        if self._listing:
            names = taken[1] if taken else text
            self._taken.update(part.partition(":")[0].strip() for part in re.split("[,;]", names[:1000]))
        queue = _QUEUE.match(text) if self._section == "Queues" and self._taken and not self._unlisted else None
        return f"No Sidekiq process running for the {queue[1]} queue" if queue and queue[1] not in self._taken else ""
