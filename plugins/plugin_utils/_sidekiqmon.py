# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sidekiqmon prints, of which two places must be held against each other. Private to this collection.

Source: lib/sidekiq/monitor.rb of Sidekiq 6 to 8.
"""

from __future__ import annotations

import re

_SECTION = re.compile(r"-{4} (\w+)(?: \(\d+\))? -{4}\s*\Z")
_TAKEN = re.compile(r"\s*Queues: (\w[\w:, ]*)")
_QUEUE = re.compile(r"(\w+) +[1-9]\d* +\d[\d.]*\s*\Z")


class Sidekiqmon:
    """Feed ``told`` the lines of one log in their order."""

    def __init__(self) -> None:
        self._section = ""
        self._taken: set[str] = set()

    def told(self, text: str) -> str:
        """Of a queue with jobs that none of the processes takes: what Mastodon's own dashboard says of it. Else empty."""
        section = _SECTION.match(text)
        if section:
            self._section = section[1]
            if self._section == "Processes":
                self._taken.clear()
        taken = _TAKEN.match(text) if self._section == "Processes" else None
        if taken:
            self._taken.update(part.partition(":")[0].strip() for part in taken[1].split(","))
        queue = _QUEUE.match(text) if self._section == "Queues" and self._taken else None
        return f"No Sidekiq process running for the {queue[1]} queue" if queue and queue[1] not in self._taken else ""
