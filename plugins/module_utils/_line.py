# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape every log line is brought into, and dates as logs write them."""

from __future__ import annotations

import calendar
import codecs
import re
import time as clock

from typing import Any, Dict, NamedTuple, Optional, Tuple

LIMIT = 8192  # characters of a line that are looked at


def _latin1(error: UnicodeError) -> Tuple[str, int]:
    """Letters that are no UTF-8 are Western European ones: PostgreSQL logs in the encoding of the cluster, which may be an old one."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(byte) for byte in error.object[error.start : error.end] if byte >= 0xA0), error.end


codecs.register_error("fediops_latin1", _latin1)


def decoded(line: bytes) -> str:
    """A line as text, whatever is in it; controls of Latin-1 are left out."""
    return line.decode("utf-8", "fediops_latin1")


class Line(NamedTuple):
    """kind: request | access | job | exception | cause | frame | more (continuation) | statement (strangers' text) | text.

    id: request id or job id, "" when the line carries none; thread: Sidekiq's thread or ""; time: epoch written in the line or None.
    fields: request {method path status:int controller action duration}; job {class word}; exception and cause {class message};
    frame {frame: "app/models/status.rb:12"}; OOM kill {process pid scope cgroup}; systemd {unit event};
    proxy {server upstream}; access {method path status:int upstream_status}; zone: a time zone nobody knows, then ``time`` is
    as if it were UTC.
    """

    kind: str
    text: str
    severity: str = ""
    id: str = ""
    thread: str = ""
    time: Optional[float] = None
    fields: Dict[str, Any] = {}


# What PostgreSQL says in a DETAIL without a value of anybody's row.
_DETAIL = re.compile(
    r"D[EÉ]TAIL ?: +(?:The data directory was initialized by|Das Datenverzeichnis wurde von PostgreSQL"
    r"|Le répertoire des données a été initialisé avec PostgreSQL|Unicode escape values cannot be used|\\u0000 cannot be converted"
    r"|Password does not match for user \"mastodon|Permissions should be u=rwx"
    r'|Could not (?:write to|read from|fsync|open|access) (?:file|directory) "[\w./]{1,120}"'
    r"|The chosen LC_\w+ setting requires|The postmaster has commanded this server process"
    r"|The (?:database|collation \S+ in the database) was created using collation version [\w.]{1,20},)"
)
# With one: what it is about.
_DETAIL_OF = re.compile(
    r"D[EÉ]TAIL ?: +Failed process was running:"
    r"|DETAIL: +Key \(lower\(\w{1,20}"
    r"|(?:D[EÉ]TAIL|DETALLE) ?: +(?:Key|La llave|La clé|Schlüssel)"
    # Of columns that take no text with a line break, or with an end like this one.
    r"(?=.{1,4}\((?:lower|username|email|name|shortcode|domain)\b.{0,200}\)=\(.{0,400}\).{0,4} "
    r"(?:is duplicated|está duplicada|est dupliquée|(?:existiert|ist) doppelt(?: vorhanden)?)\.?\s*\Z)"
)


def detail(text: str) -> str:
    """What may be heard of a line that begins with DETAIL; empty when nothing is known of it but that it may quote a row."""
    if _DETAIL.match(text):
        return text
    part = _DETAIL_OF.match(text)
    return part.group() if part else ""


_MONTHS = {
    name: number
    for number, names in enumerate(
        "jan janv,feb fév févr,mar mär mars mrz,apr avr,may mai,jun juin,jul juil,aug aoû août,sep sept,oct okt,nov,dec dez déc".split(","),
        1,
    )
    for name in names.split()
}

# Hours ahead of UTC. Abbreviations that several countries use (IST, CST, BST, AST…) are not here: nobody can tell which is meant.
_ZONES = {
    name: hours
    for hours, names in (
        (0.0, "Z UTC GMT UCT WET"), (1.0, "CET MEZ WEST"), (2.0, "CEST MESZ EET SAST"), (3.0, "EEST MSK EAT"), (5.0, "PKT"), (7.0, "WIB"),
        (8.0, "AWST HKT"), (9.0, "JST KST"), (9.5, "ACST"), (10.0, "AEST"), (10.5, "ACDT"), (11.0, "AEDT"), (12.0, "NZST"), (13.0, "NZDT"),
        (-2.5, "NDT"), (-3.5, "NST"), (-4.0, "EDT"), (-5.0, "EST"), (-6.0, "MDT"), (-7.0, "MST PDT"), (-8.0, "PST AKDT"), (-9.0, "AKST"),
        (-10.0, "HST"),
    )
    for name in names.split()
}  # fmt: skip

_seconds: Dict[str, float] = {}


def knows(zone: str) -> bool:
    """Whether ``epoch`` reads times of this zone for sure."""
    return zone in _ZONES or zone[:1] in ("+", "-") or zone in clock.tzname


def epoch(date: str, zone: str = "") -> Optional[float]:
    """Epoch of ``YYYY-mm-dd HH:MM:SS`` (or / and T). zone: +hh[:]mm, a zone that has a name of its own; "" is this host's local
    time, and so is a name nobody ``knows``."""
    key = date[:19] + zone
    known = _seconds.get(key)
    if known is None:
        try:
            parts = (int(date[0:4]), int(date[5:7]), int(date[8:10]), int(date[11:13]), int(date[14:16]), int(date[17:19]))
            if zone and zone in clock.tzname and zone not in ("Z", "UTC", "GMT"):
                known = clock.mktime((*parts, 0, 0, clock.tzname.index(zone)))
            elif zone in _ZONES:
                known = float(calendar.timegm((*parts, 0, 0, 0))) - 3600 * _ZONES[zone]
            elif zone[:1] in ("+", "-"):
                digits = zone[1:].replace(":", "").ljust(4, "0")
                ahead = int(digits[:2]) * 3600 + int(digits[2:4]) * 60
                known = float(calendar.timegm((*parts, 0, 0, 0)) - (ahead if zone[0] == "+" else -ahead))
            else:
                known = clock.mktime((*parts, 0, 0, -1))
        except (ValueError, OverflowError):
            return None
        if len(_seconds) > 4096:
            _seconds.clear()
        _seconds[key] = known
    return known


def fraction(digits: Optional[str]) -> float:
    """``.678`` or ``,678`` as 0.678; None as 0."""
    try:
        return float("0." + digits[1:]) if digits else 0.0
    except ValueError:
        return 0.0


def month_epoch(month: str, day: int, hms: str, year: int = 0, zone: str = "") -> Optional[float]:
    """Epoch of a date with a month name; without a year the latest such date that is not in the future."""
    number = _MONTHS.get(month.lower())
    if number is None or not 1 <= day <= 31:
        return None
    now = clock.time()
    found = epoch(f"{year or clock.localtime(now).tm_year:04d}-{number:02d}-{day:02d} {hms}", zone)
    if not year and found is not None and found > now + 86400:
        found = epoch(f"{clock.localtime(now).tm_year - 1:04d}-{number:02d}-{day:02d} {hms}", zone)
    return found
