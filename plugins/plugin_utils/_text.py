# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text from strangers made safe to show, and numbers made readable. Private to this collection."""

from __future__ import annotations

import re

# Terminal sequences go as a whole, otherwise "[31m" would remain after its escape character is gone.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|\x9b[0-?]*[ -/]*[@-~]")
# Control characters, marks that reorder or hide text (bidi, zero width, tags), lone surrogates, and what XML 1.0 refuses.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
)
_BREAKS = re.compile("\r\n|[\r\u0085\u2028\u2029]")
_SPACES = re.compile(r"\s+")

LINE_LIMIT = 400
TEXT_LIMIT = 4000


def clean_text(value: object, limit: int = TEXT_LIMIT) -> str:
    """Text of several lines without anything that steers a terminal, reorders letters, or grows without bound."""
    text = str(value)[: limit * 4]
    text = _UNSAFE.sub("", _ANSI.sub("", _BREAKS.sub("\n", text)).replace("\t", "    ")).strip("\n ")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_line(value: object, limit: int = LINE_LIMIT) -> str:
    """The same, on one line."""
    text = _SPACES.sub(" ", clean_text(value, limit * 2)).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def human_bytes(value: float) -> str:
    """1536 -> "1.5 kB". Powers of 1024 with the short names, as df -h and free -h show them."""
    size = float(value)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 1024 or unit == "TB":
            break
        size /= 1024
    digits = f"{size:.1f}" if unit != "B" and abs(size) < 10 else f"{size:.0f}"
    return f"{digits.removesuffix('.0')} {unit}"


def human_duration(value: float) -> str:
    """93784 -> "1 d 2 h": the two largest units, which is all a reader needs."""
    seconds = float(value)
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    rest, parts = round(abs(seconds)), []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
        if len(parts) == 2 or (parts and not count):
            break
    return ("-" if seconds < 0 else "") + " ".join(parts)
