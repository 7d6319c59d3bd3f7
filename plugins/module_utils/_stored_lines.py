# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a stored log and their times, whoever wrote it: services themselves, docker (JSON), syslog, a redirection of systemd."""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, Dict, Iterable, Iterator, List, NamedTuple, Optional

from ansible_collections.fediops.mastodon.plugins.module_utils._line import epoch, fraction
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import parse, strip_prefix
from ansible_collections.fediops.mastodon.plugins.module_utils._tally import text_of

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._line import Line
    from ansible_collections.fediops.mastodon.plugins.module_utils._stored import Stored

AHEAD_SECONDS = 60.0
LINE_BYTES = 1 << 16  # of a line; what is behind is a stranger's, and must not look like another line
_DOCKER = b'{"log":'
# Most records of docker's json-file driver: nothing in them is escaped but the newline.
_PLAIN = re.compile(rb'\{"log":"([^"\\]*)(?:\\n)?","stream":"\w{1,20}","time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z"\}\r?')
END_BYTES = 1 << 18  # the end of a file, which tells how far its clock is from ours


class Dated(NamedTuple):
    """Text of a line and its time, None when it has none. zone: of the time, when that cannot be told, else "". line: if it was parsed."""

    text: str
    time: Optional[float]
    zone: str = ""
    line: Optional[Line] = None


class Times:
    """Times of the lines of a file, by our clock (``now``). When it was last written to must be the time of its last line, in whatever zone
    its writer lives."""

    def __init__(self, origin: str, file: Stored, now: float) -> None:
        self._origin = origin
        self._file = file
        self._written = min(file.written, now)
        self._clocks: Dict[str, Optional[float]] = {}

    def of(self, line: bytes) -> Dated:
        """The line, its time by our clock, and -1 when that cannot be told."""
        dated = dated_of(self._origin, line)
        when, zone = dated.time, dated.zone
        if when is None:
            return dated
        if zone not in self._clocks:
            end = self._file.read_at(max(0, self._file.size - END_BYTES), END_BYTES)
            self._clocks[zone] = ahead_of(self._origin, end.split(b"\n"), zone, self._written)
        ahead = self._clocks[zone]
        # A line of the future, or of a zone that nobody can tell, is of no known time: better lost than taken for fresh.
        known = ahead is not None and when + ahead <= self._written + AHEAD_SECONDS
        return dated if known and not ahead else dated._replace(time=when + (ahead or 0.0) if known else -1.0)

    def newest(self, block: bytes) -> Optional[float]:
        """The latest time of the whole lines of a block that begins anywhere."""
        times = [self.of(line).time for line in block.split(b"\n")[1:-1]]
        return max((when for when in times if when is not None), default=None)


def dated_of(origin: str, line: bytes) -> Dated:
    """A line of a file of this origin, with the time that is written in it."""
    plain = _PLAIN.fullmatch(line) if line.startswith(_DOCKER) else None
    base = epoch(plain.group(2).decode("ascii"), "Z") if plain else None
    if plain and base is not None:
        return Dated(text_of(plain.group(1)), base + fraction((plain.group(3) or b"").decode("ascii")))
    text = text_of(line)
    # Stored by docker, syslog or a redirection: the time is in front.
    if origin in ("web", "sidekiq", "streaming") or line.startswith(_DOCKER):
        stripped = strip_prefix(text)
        if stripped.time is not None:
            return Dated(stripped.text, stripped.time)
        text = stripped.text
    parsed = parse(origin, text)
    return Dated(text, parsed.time, str(parsed.fields.get("zone", "")) if parsed.time is not None else "", parsed)


def ahead_of(origin: str, lines: List[bytes], zone: str, written: float) -> Optional[float]:
    """Seconds to add to times of ``zone``, told by the last of them: that is when the file was written. None when it cannot be told."""
    dated = (dated_of(origin, line) for line in reversed(lines))
    last = next((each.time for each in dated if each.time is not None and each.zone == zone), written)
    if not zone and last <= written + AHEAD_SECONDS:
        return 0.0
    ahead = round((written - last) / 1800) * 1800.0
    return ahead if abs(written - last - ahead) <= AHEAD_SECONDS and abs(ahead) <= 14 * 3600 else None


def split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of chunks of bytes, without their ends; of a longer line than LINE_BYTES only the beginning."""
    rest = b""
    passing = False
    for chunk in chunks:
        if passing:
            end = chunk.find(b"\n")
            if end < 0:
                continue
            chunk, passing = chunk[end + 1 :], False  # noqa: PLW2901
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        yield from lines
        if len(rest) > LINE_BYTES:
            yield rest[:LINE_BYTES]
            rest, passing = b"", True
    if rest:
        yield rest
