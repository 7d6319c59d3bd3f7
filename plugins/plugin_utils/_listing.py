# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders of compiled assets that ``ls`` shows to be empty. Private to this collection. Source: ls(1)."""

from __future__ import annotations

import re

_HEAD = re.compile(r"(?:\S{0,300}/)?public/(?:packs|assets)/?:\s*\Z")
_ASKED = re.compile(r".{0,200}\bls (?:-\w+ )*(?:\S{0,300}/)?public/(?:packs|assets)/?\s*\Z")
_TOTAL = re.compile(r"(?:total|insgesamt|total :?) (\d{1,6})\s*\Z")
_INSIDE = re.compile(r"\b(?:exec|run)\b")  # of docker, compose, kubectl
_DOTS = re.compile(r"d[rwxsStT-]{9}[.+@]? .* \.\.?/?\s*\Z")


class Listing:
    """Feed ``told`` the lines of one log in their order, those that a service wrote left out."""

    def __init__(self) -> None:
        self._of = False
        self._total = ""
        self._dots = 0
        self._where = ""

    def told(self, text: str) -> str:
        """Behind the listing of a folder that has nothing but itself and the one above; else empty."""
        if " ls " in text:
            self._where = " in a container" if _INSIDE.search(text) else ""
        total = _TOTAL.match(text)
        if _HEAD.match(text) or _ASKED.match(text):
            self._of, self._total, self._dots = True, "", 0
        elif self._of and total:
            self._total = total[1]
        elif self._total and _DOTS.match(text):
            self._dots += 1
        elif self._total:
            nothing = self._dots == 2 or self._total == "0" and not self._dots  # the latter without -a
            self._of, self._total = False, ""
            return "compiled assets: an empty folder" + self._where if nothing and not text.startswith(("-", "d", "l")) else ""
        return ""
