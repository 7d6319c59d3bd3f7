# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reader of the journal export format (https://systemd.io/JOURNAL_EXPORT_FORMATS/), as ``journalctl -o export`` writes it.

An entry is lines ``FIELD=text``, or ``FIELD`` newline, 64-bit little-endian length, data, newline when the value holds control characters
(colours, newlines); an empty line ends it. Chunks may be cut anywhere. Damaged or oversized entries are skipped, the reader finds the next
one and never holds more than ENTRY_LIMIT bytes plus a chunk.
"""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, NamedTuple, Optional, Tuple

ENTRY_LIMIT = 1 << 20  # journald keeps a line under 48 kB; anything near this is hostile or damaged
MESSAGE_LIMIT = 16384  # bytes of a message handed on

_Sender = Tuple[str, str, int, str, bool]  # unit, identifier, pid, transport, about
_Senders = Dict[Tuple[bytes, bytes, bytes, bytes, bytes], _Sender]


class Entry(NamedTuple):
    """One journal entry. ``unit`` is what systemd talks about for its own lines (``about`` is true), else the unit that wrote it."""

    time: float
    unit: str
    identifier: str
    pid: int
    transport: str
    message: bytes
    about: bool


def parse(chunks: Iterable[bytes]) -> Iterator[Entry]:
    """Entries of an export stream, in order. Never raises on content; an entry cut at the end is left out."""
    data = b""
    senders: _Senders = {}
    skipping = False  # inside an entry that was too big or damaged: wait for the next one
    for chunk in chunks:
        data = data + chunk if data else chunk
        position = 0
        size = len(data)
        entry: Optional[Entry]
        while position < size:
            if skipping:
                found = data.find(b"\n\n__CURSOR=", position)
                if found < 0:
                    position = max(position, size - 10)
                    break
                position, skipping = found + 2, False
            end = data.find(b"\n\n", position)
            if end >= 0:
                try:  # most entries are text only
                    fields = dict([line.split(b"=", 1) for line in data[position:end].split(b"\n")])
                except ValueError:  # a line without "=": the name of a binary field, or an empty line in front
                    pass
                else:
                    position = end + 2
                    entry = _entry(fields, senders)
                    if entry is not None:
                        yield entry
                    continue
            stop, fields = _careful(data, position)
            if stop == 0:  # not all here yet
                if size - position > ENTRY_LIMIT:
                    skipping = True
                    continue
                break
            if stop < 0:
                skipping = True
                continue
            position = stop
            entry = _entry(fields, senders)
            if entry is not None:
                yield entry
        data = data[position:]


def _careful(data: bytes, position: int) -> Tuple[int, Dict[bytes, bytes]]:
    """Read one entry with binary fields at ``position``. Returns (offset after it, fields); 0: incomplete; -1: damaged."""
    fields: Dict[bytes, bytes] = {}
    size = len(data)
    while True:
        end = data.find(b"\n", position)
        if end < 0:
            return 0, fields
        if end == position:
            return end + 1, fields
        equals = data.find(b"=", position, end)
        if equals >= 0:
            fields[data[position:equals]] = data[equals + 1 : end]
            position = end + 1
            continue
        name = data[position:end]
        if len(name) > 64:
            return -1, fields
        if size < end + 9:
            return 0, fields
        length = int.from_bytes(data[end + 1 : end + 9], "little")
        if length > ENTRY_LIMIT:
            return -1, fields
        stop = end + 9 + length
        if size <= stop:
            return 0, fields
        if data[stop : stop + 1] != b"\n":
            return -1, fields
        fields[name] = data[end + 9 : min(stop, end + 9 + MESSAGE_LIMIT)]
        position = stop + 1


def _entry(fields: Dict[bytes, bytes], senders: _Senders) -> Optional[Entry]:
    get = fields.get
    message = get(b"MESSAGE")
    if message is None:
        return None
    key = (get(b"_SYSTEMD_UNIT", b""), get(b"UNIT", b""), get(b"SYSLOG_IDENTIFIER", b""), get(b"_PID", b""), get(b"_TRANSPORT", b""))
    try:
        time = int(fields[b"__REALTIME_TIMESTAMP"][:18]) / 1e6
        sender = senders.get(key)
        if sender is None:
            if len(senders) > 4096:
                senders.clear()
            sender = senders[key] = _sender(*key)
    except (KeyError, ValueError):
        return None
    unit, identifier, pid, transport, about = sender
    return Entry(time, unit, identifier, pid, transport, message if len(message) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT], about)


def _sender(unit: bytes, about: bytes, identifier: bytes, process: bytes, transport: bytes) -> _Sender:
    """Who wrote an entry, or which unit systemd wrote about."""
    pid = int(process[:10] or b"0")
    # PID 1, or its child "(bundle)" before it became the service; anyone else may claim to be about a unit
    speaks = bool(about) and (pid == 1 or (identifier.startswith(b"(") and about == unit))
    return _text(about if speaks else unit), _text(identifier), pid, _text(transport), speaks


def _text(value: bytes) -> str:
    return value[:256].decode("utf-8", "replace")
