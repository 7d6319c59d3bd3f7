# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``redis-cli config get`` prints, name and value in lines of their own. Private to this collection.

Source: https://redis.io/docs/latest/commands/config-get/
"""

from __future__ import annotations

import re

_NAME = re.compile(r' *(\d{1,3})\) "maxmemory-policy"\s*\Z')
_VALUE = re.compile(r' *(\d{1,3})\) "([a-z-]{3,20})"\s*\Z')


class RedisCli:
    """Feed ``told`` the lines of one log in their order, those that a service wrote left out."""

    def __init__(self) -> None:
        self._number = 0

    def told(self, text: str) -> str:
        """The policy as ``redis-cli info`` prints it, at the line of its value; else empty."""
        name, value, number = _NAME.match(text), _VALUE.match(text), self._number
        self._number = int(name[1]) if name else 0
        return f"maxmemory_policy:{value[2]}" if value and number % 2 and int(value[1]) == number + 1 else ""
