# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``redis-cli config get`` prints, name and value in lines of their own. Private to this collection.

Source: https://redis.io/docs/latest/commands/config-get/
"""

from __future__ import annotations

import re

_ENTRY = re.compile(r' *(\d{1,3})\) "([\w ./:-]{0,120})"\s*\Z')


class RedisCli:
    """Feed ``told`` the lines of one log in their order."""

    def __init__(self) -> None:
        self._name = ""
        self._number = 0

    def told(self, text: str) -> str:
        """A setting as ``redis-cli info`` prints it, at the line of its value; else empty."""
        entry = _ENTRY.match(text)
        name, number = self._name, self._number
        self._name, self._number = (entry[2], int(entry[1])) if entry else ("", 0)
        if entry is None or number % 2 == 0 or self._number != number + 1:
            return ""
        return f"{name.replace('-', '_')}:{entry[2]}"
