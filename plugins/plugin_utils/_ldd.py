# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ldd says of the compiled part of a gem. Private to this collection. Source: ldd(1)."""

from __future__ import annotations

import re

_ASKED = re.compile(r"(?:\S{0,200} ?[$#] ?)?\S{0,40}\bldd\s+\S{0,500}/(?:gems|bundle|extensions)/\S{0,500}\.so\b")
_PROMPT = re.compile(r"\S{0,200}[$#] ?\S")
_LOST = re.compile(r"\s*(lib[\w+.-]{1,80}\.so[.\d]*) => not found\s*\Z")


class Ldd:
    """Feed ``told`` the lines of one log in their order, those that a service wrote left out."""

    def __init__(self) -> None:
        self._asked = False

    def told(self, text: str) -> str:
        """As the linker would say it when the gem is loaded; else empty. Ruby's own library is loaded before, from wherever it is."""
        self._asked = _ASKED.match(text) is not None or self._asked and _PROMPT.match(text) is None
        lost = _LOST.match(text) if self._asked else None
        return f"{lost[1]}: cannot open shared object file" if lost and not lost[1].startswith("libruby") else ""
