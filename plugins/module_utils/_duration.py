# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long, as people write it."""

from __future__ import annotations

import re

_DURATION = re.compile(r"^(\d{1,9})\s*([smhd]?)$")


def seconds_of(text: str, name: str = "log_since") -> float:
    """`90`, `90s`, `15m`, `1h`, `2d` in seconds; ValueError with one sentence about the option ``name`` otherwise."""
    match = _DURATION.match(text.strip())
    if match is None or int(match.group(1)) == 0:
        raise ValueError("%s is a number of seconds or a number with s, m, h or d, for example 1h, not %r" % (name, text[:40]))
    return int(match.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match.group(2)]
