# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``redis-cli`` answers in lines behind the question. Private to this collection.

Sources: https://redis.io/docs/latest/commands/config-get/ and scard/; Sidekiq::ProcessSet: ``processes`` is the set of those alive.
"""

from __future__ import annotations

import re

_NAME = re.compile(r' *(\d{1,3})\) "maxmemory-policy"\s*\Z')
_VALUE = re.compile(r' *(\d{1,3})\) "([a-z-]{3,20})"\s*\Z')
_PROCESSES = re.compile(r".{0,300}\b(?i:scard) (?:\S{1,80}:)?processes\W{0,3}\Z")
_WAITING = re.compile(r".{0,300}\b(?i:llen) (?:\S{1,80}:)?queue:\w+\W{0,3}\Z")
_NUMBER = re.compile(r"(?:\(integer\) )?(\d{1,12})\s*\Z")


class RedisCli:
    """Feed ``told`` the lines of one log in their order, those that a service wrote left out."""

    def __init__(self) -> None:
        self._number = 0
        self._asked = ""
        self._none = self._waits = False

    def told(self, text: str) -> str:
        """The policy as ``redis-cli info`` prints it, at the line of its value, or that no Sidekiq is registered; else empty."""
        answer = _NUMBER.match(text) if self._asked else None
        if answer:  # and that jobs wait there shows that it was the right place to look
            self._none = self._none or self._asked == "processes" and int(answer[1]) == 0
            self._waits = self._waits or self._asked == "queue" and int(answer[1]) > 0
        self._asked = "processes" if _PROCESSES.match(text) else "queue" if _WAITING.match(text) else ""
        if answer and self._none and self._waits:
            self._none = False
            return "processes in Redis: 0"
        name, value, number = _NAME.match(text), _VALUE.match(text), self._number
        self._number = int(name[1]) if name else 0
        return f"maxmemory_policy:{value[2]}" if value and number % 2 and int(value[1]) == number + 1 else ""
