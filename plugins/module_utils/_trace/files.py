# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log files for a trace, rotated and compressed ones too: where a text stands, and all lines between two times.

The place of a time is found by bisection, so the cost is that of the time in question; a compressed file is unpacked from its beginning.
"""

from __future__ import annotations

import time as clock

from collections import deque
from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._observe import logs, proxy
from ansible_collections.fediops.mastodon.plugins.module_utils._packed import HEAD_BYTES, kind_of, missing, unpack
from ansible_collections.fediops.mastodon.plugins.module_utils._stored import window_of
from ansible_collections.fediops.mastodon.plugins.module_utils._stored_lines import Times, dated_of
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.backwards import backwards
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import MOST_HITS, Record, Source, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
    from ansible_collections.fediops.mastodon.plugins.module_utils._stored import Stored

BLOCK_BYTES = 1 << 20
BEFORE = 200  # lines looked back at for a time
LINE_BYTES = 1 << 16
WINDOW_LINES = 60000
ROTATED = 40  # files of one log


def places(host: Host, install: Mapping[str, Any], since: float) -> list[tuple[str, str]]:
    """(origin, path) of every log file that was written to since then, the newest of each first."""
    found = []
    try:
        requests = proxy.access_logs(host, install)
    except Exception:  # a configuration that nobody may read tells nothing; the usual places are looked into all the same
        requests = []
    for origin, path in [*logs.files_of(host, install, logs.nginx_of(host, install)), *(("proxy", path) for path in requests)]:
        older = []
        for name in host.glob(path + "[.-]*")[:1000]:
            status = host.stat(name)
            if status is not None and status.st_mtime >= since and logs.ROTATION.match(name, len(path)):
                older.append((-status.st_mtime, name))
        found += [(origin, name) for name in [*([path] if host.exists(path) else []), *(name for _age, name in sorted(older)[:ROTATED])]]
    return list(dict.fromkeys(found))


def find(host: Host, path: str, needles: Sequence[bytes], since: float, every: bool, deadline: float, source: Source) -> list[Record]:
    """The lines since then that hold one of the needles: those that lie together, or ``every`` one."""
    with host.stored(path, 0, deadline) as file:
        reader = _Reader(file, source, deadline)
        end = file.size

        def look(begin: float, _until: float) -> list[Record]:
            nonlocal end
            start = reader.place(begin)
            found = deque(reader.holding(needles, start, end, since), MOST_HITS)
            end = start
            source.newest_only = source.newest_only or len(found) == MOST_HITS
            return list(found)

        return backwards(look, since, every or reader.packed, source, at_once=reader.packed)


def window(host: Host, path: str, spans: Sequence[Span], source: Source) -> list[Record]:
    """Every line of these spans, which are in order; one without a time belongs to the one before it."""
    records: list[Record] = []
    with host.stored(path, 0, host.deadline) as file:
        reader = _Reader(file, source, host.deadline)
        for span in [Span(spans[0].since, spans[-1].until)] if reader.packed else spans:
            for record in reader.between(span):
                if not reader.packed or any(each.since <= record.time <= each.until for each in spans):
                    records.append(record)
                if len(records) >= WINDOW_LINES:
                    source.cut("only %d lines of the time in question were read" % WINDOW_LINES, 0.0)
                    return records
    return records


class _Reader:
    """One file as lines with a time."""

    def __init__(self, file: Stored, source: Source, deadline: float) -> None:
        self.file, self.source, self.deadline = file, source, deadline
        self.packed = bool(kind_of(file.read_at(0, HEAD_BYTES)))
        self.times = Times(source.origin, file, clock.time())
        self.written = min(file.written, clock.time())
        # Rails before 4.2 of Mastodon writes no times: in a plain file its lines have none.
        end = b"" if self.packed else file.read_at(max(0, file.size - LINE_BYTES), LINE_BYTES)
        self.timeless = bool(end) and self.times.newest(b"\n" + end + b"\n") is None

    def holding(self, needles: Sequence[bytes], start: int, end: int, since: float) -> Iterator[Record]:
        """Lines between two places that hold a needle and are not older than that."""
        before = b""
        for block in self._blocks(start, end):
            if not any(needle in block for needle in needles):
                before = block
                continue
            lines = block.split(b"\n")
            for at, line in enumerate(lines):
                if not any(needle in line for needle in needles):
                    continue
                text, when = self._timed(line)
                if when is None:  # that of the line it follows
                    when = self._before([*before[-LINE_BYTES:].split(b"\n")[-BEFORE:], *lines[max(0, at - BEFORE) : at]])
                if since <= when:
                    yield self._record(when, text)
            before = block

    def between(self, span: Span) -> Iterator[Record]:
        """Every line of a span."""
        current = self.written if self.timeless else 0.0
        for block in self._blocks(self.place(span.since), self.file.size):
            lines = block.split(b"\n")
            if not self.timeless and 0.0 < self._before(lines[-BEFORE:]) < span.since:
                continue  # nothing in it is as young as that
            for line in lines:
                if not line:
                    continue
                text, when = self._timed(line)
                current = current if when is None else when
                if span.since <= current <= span.until:
                    yield self._record(current, text)
                elif current > span.until + 60.0:
                    return

    def place(self, since: float) -> int:
        """Before it no line is of that time or younger; the line it falls into is not whole."""
        return 0 if self.packed or self.timeless else window_of(self.file, self.times.newest, since)

    def _timed(self, line: bytes) -> tuple[str, float | None]:
        dated = self.times.of(line)
        if dated.time is not None and dated.time < 0:  # of a clock that nobody knows; to be shown it is good enough
            dated = dated_of(self.source.origin, line)
        return dated.text, dated.time

    def _before(self, lines: Sequence[bytes]) -> float:
        """Time of the last of these lines that has one."""
        times = (self._timed(line)[1] for line in reversed(lines))
        return next((when for when in times if when is not None), self.written if self.timeless else 0.0)

    def _record(self, when: float, text: str) -> Record:
        return Record(when, self.source.origin, self.source.name, 0, text)

    def _blocks(self, begin: int, end: int) -> Iterator[bytes]:
        """Whole lines, about BLOCK_BYTES of them at once; a longer line comes in pieces. The last line may end behind ``end``."""
        rest = b""
        half = begin > 0
        for data in self._unpacked() if self.packed else self._plain(begin, end):
            whole = rest + data
            cut = whole.rfind(b"\n") + 1 or len(whole)
            block, rest = whole[:cut], whole[cut:]
            if half:
                block, half = block[block.find(b"\n") + 1 :], False
            if block:
                yield block
            if clock.monotonic() > self.deadline:
                self.source.cut("the time was up", 0.0)
                return
        if rest:
            yield rest
        if self.file.reason:
            self.source.cut(self.file.reason, 0.0)

    def _plain(self, begin: int, end: int) -> Iterator[bytes]:
        after = self.file.read_at(end, LINE_BYTES).find(b"\n") + 1 if 0 < end < self.file.size else 0
        end += after
        while begin < end:
            data = self.file.read_at(begin, min(BLOCK_BYTES, end - begin))
            if not data:
                self.source.cut("the file was emptied while it was read", 0.0)
                return
            begin += len(data)
            yield data

    def _unpacked(self) -> Iterator[bytes]:
        try:
            yield from unpack(self.file.chunks(0), BLOCK_BYTES)
        except ValueError as problem:
            self.source.cut(missing(problem, 0), 0.0)
