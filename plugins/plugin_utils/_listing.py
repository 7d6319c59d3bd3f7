# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders of compiled assets that ``ls`` shows to be empty. Private to this collection. Source: ls(1)."""

from __future__ import annotations

import re

_HEAD = re.compile(r"(?:\S{0,300}/)?public/(?:packs|assets)/?:\s*\Z")
_ASKED = re.compile(r".{0,200}\bls (?:-\w+ )*(?:\S{0,300}/)?public/(?:packs|assets)/?\s*\Z")
_TOTAL = re.compile(r"(?:total|insgesamt|total :?) \d{1,6}\s*\Z")
_INSIDE = re.compile(r"\b(?:exec|run)\b")  # of docker, compose, kubectl
_DOTS = re.compile(r"d[rwxsStT-]{9}[.+@]? .* \.\.?/?\s*\Z")


class Listing:
    """Feed ``told`` the lines of one log in their order, those that a service wrote left out."""

    def __init__(self) -> None:
        self._of = self._begun = False
        self._dots = 0
        self._where = ""

    def told(self, text: str) -> str:
        """At the second of the two entries that an empty folder has, or behind a listing of nothing; else empty."""
        if " ls " in text:
            self._where = " in a container" if _INSIDE.search(text) else ""
        if _HEAD.match(text) or _ASKED.match(text):
            self._of, self._begun, self._dots = True, False, 0
        elif self._of and _TOTAL.match(text):
            self._begun = True
        elif self._begun and _DOTS.match(text):
            self._dots += 1
        elif self._begun:
            empty, self._of, self._begun = self._dots == 2 and not text.startswith(("-", "d", "l")), False, False
            return "compiled assets: an empty folder" + self._where if empty else ""
        return ""
