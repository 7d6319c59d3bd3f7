# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log files for a trace, rotated and compressed ones too: where a text stands, and all lines between two times. Read from their end."""

from __future__ import annotations

import itertools
import re
import time as clock
import zlib

from collections import deque
from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._observe import logs, proxy
from ansible_collections.fediops.mastodon.plugins.module_utils._stored_lines import ahead_of, dated_of, split
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import EARLIER_SECONDS, MOST_HITS, Record, Source, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

PARTS = (16 << 20, 1 << 30)  # bytes from the end: first few, and when the time in question lies before them, more
BLOCK_BYTES = 1 << 20
BEFORE = 200  # lines looked back at for a time
WINDOW_LINES = 60000
ROTATED = 40  # files of one log
_ROTATED = re.compile(r"(?:\.\d{1,3}|-\d{8}(?:-?\d{1,6})?)(?:\.gz)?\Z")


def places(host: Host, install: Mapping[str, Any], since: float) -> list[tuple[str, str]]:
    """(origin, path) of every log file that was written to since then, the newest of each first."""
    found = []
    for origin, path in [*logs._files(host, install, logs._nginx(host, install)), *_access_logs(host, install)]:
        older = []
        for name in host.glob(path + "[.-]*")[:1000]:
            status = host.stat(name)
            if status is not None and status.st_mtime >= since and _ROTATED.match(name, len(path)):
                older.append((-status.st_mtime, name))
        found += [(origin, name) for name in [*([path] if host.exists(path) else []), *(name for _age, name in sorted(older)[:ROTATED])]]
    return list(dict.fromkeys(found))


def _access_logs(host: Host, install: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every access log of nginx for Mastodon: the one with request ids may hold the same requests as another."""
    if not host.exists(proxy.MAIN_FILE):
        return []
    root = proxy._configured(host)
    paths = {path for server in proxy.mastodon_servers(root, install) for path in proxy._paths(server, "access_log", proxy.ACCESS_LOG)}
    return [("proxy", path) for path in sorted(paths)]


def find(host: Host, path: str, needles: Sequence[bytes], since: float, every: bool, _deadline: float, source: Source) -> list[Record]:
    """The lines that hold one of the needles, those before ``since`` left out, and all of them when ``every`` one is wanted."""
    found: list[Record] = []
    enough = False
    for part in PARTS:
        reader = _Reader(host, path, part, source.origin)
        lines = (Record(time, source.origin, path, 0, line) for time, line in reader.lines(since, clock.time() + 86400, needles))
        found = list(deque(lines, MOST_HITS))
        enough = bool(found) and not every and reader.first is not None and reader.first < found[0].time - EARLIER_SECONDS
        if enough or not reader.starts_after(since):
            break
    if not enough:
        reader.tell(source, since)
    source.found += len(found)
    source.newest_only = len(found) == MOST_HITS
    return found


def window(host: Host, path: str, spans: Sequence[Span], source: Source) -> list[Record]:
    """Every line of these spans, which are in order; one without a time belongs to the one before it."""
    records: list[Record] = []
    since, until = spans[0].since, spans[-1].until
    for part in PARTS:
        reader = _Reader(host, path, part, source.origin)
        lines = (
            Record(time, source.origin, path, 0, line)
            for time, line in reader.lines(since, until, ())
            if any(span.since <= time <= span.until for span in spans)
        )
        records = list(itertools.islice(lines, WINDOW_LINES))
        if not reader.starts_after(since):
            break
    reader.tell(source, since)
    if len(records) == WINDOW_LINES:
        source.cut("only %d lines of the time in question were read" % WINDOW_LINES, 0.0)
    source.lines += len(records)
    return records


class _Reader:
    """The last bytes of one file as lines with a time."""

    def __init__(self, host: Host, path: str, part: int, origin: str) -> None:
        self.host, self.path, self.part, self.origin = host, path, part, origin
        self.stream = host.tail(path, part)
        self.first: float | None = None
        self.broken = ""
        self.zones: dict[str, float | None] = {}
        status = host.stat(path)
        self.written = min(status.st_mtime, clock.time()) if status is not None else clock.time()
        # Its end tells the zone of its times, and whether there are times at all (Rails before 4.2 of Mastodon in a plain file).
        self.end = [] if path.endswith(".gz") else list(split(host.tail(path, 65536)))[-500:]
        self.timeless = bool(self.end) and all(dated_of(origin, line).time is None for line in self.end)

    def starts_after(self, since: float) -> bool:
        """Whether more of this file may lie in the time in question than was read."""
        return bool(self.stream.truncated) and (self.first is None or self.first > since)

    def tell(self, source: Source, since: float) -> None:
        if self.broken:
            source.cut(self.broken, 0.0)
        elif self.starts_after(since):
            source.cut(self.stream.reason, self.first or 0.0)

    def lines(self, since: float, until: float, needles: Sequence[bytes]) -> Iterator[tuple[float, str]]:
        """(time, text) of the lines between these times, of those that hold a needle when there are any."""
        current = self.written if self.timeless else 0.0
        before: list[bytes] = []
        for number, block in enumerate(self._blocks()):
            known = self.timeless or self.first is not None
            if known and needles and not any(needle in block for needle in needles):
                before = block[-65536:].split(b"\n")[-BEFORE:]
                continue
            lines = block.split(b"\n")
            if number == 0 and self.stream.truncated:
                del lines[0]  # half a line
            ends = None if needles or not known or self.timeless else self._time_before(lines[-BEFORE:])
            if ends is not None and ends < since:  # nothing in it is as young as that
                current = ends
                continue
            for at, line in enumerate(lines):
                hit = bool(line) and (not needles or any(needle in line for needle in needles))
                if not hit and (self.timeless or self.first is not None):
                    continue
                text, when = self._timed(line)
                if when is None and hit and needles and not self.timeless:  # it has no time of its own: that of the line it follows
                    when = self._time_before([*before, *lines[max(0, at - BEFORE) : at]])
                if when is not None:
                    current = when
                    self.first = current if self.first is None else self.first
                if hit and since <= current <= until:
                    yield current, text
                elif not needles and current > until + 60.0:
                    return
            before = lines[-BEFORE:]

    def _time_before(self, lines: Sequence[bytes]) -> float | None:
        return next((when for when in (self._timed(line)[1] for line in reversed(lines)) if when is not None), None)

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, about BLOCK_BYTES of them at once; a longer line comes in pieces."""
        parts: list[bytes] = []
        size = 0
        for chunk in self._chunks():
            parts.append(chunk)
            size += len(chunk)
            if size >= BLOCK_BYTES:
                whole = b"".join(parts)
                cut = whole.rfind(b"\n") + 1 or size
                yield whole[:cut]
                parts, size = [whole[cut:]], size - cut
        if size:
            yield b"".join(parts)

    def _timed(self, line: bytes) -> tuple[str, float | None]:
        dated = dated_of(self.origin, line)
        return dated.text, None if dated.time is None else dated.time + self._ahead(dated.zone)

    def _ahead(self, zone: str) -> float:
        """Seconds to add to times of a zone: told by the end of the file, which was written when the file was."""
        if zone not in self.zones:
            self.zones[zone] = ahead_of(self.origin, self.end, zone, self.written)
        return self.zones[zone] or 0.0

    def _chunks(self) -> Iterator[bytes]:
        if not self.path.endswith(".gz"):
            yield from self.stream
            return
        unpacker = zlib.decompressobj(31)
        for chunk in self.stream:
            data = chunk
            while data and not unpacker.eof:
                try:
                    yield unpacker.decompress(data, 1 << 20)
                except zlib.error:
                    self.broken = "it is not a whole gzip file"
                    return
                data = unpacker.unconsumed_tail
                if clock.monotonic() > self.host.deadline:
                    self.broken = "the time was up"
                    return
        if not unpacker.eof:
            self.broken = "it is not a whole gzip file"
