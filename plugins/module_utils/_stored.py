# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log file opened once, plain or packed: renamed, grown or emptied meanwhile, what is read is still that file, up to its end of then.

``window_of`` finds where the lines of a time begin without reading what is before.
"""

from __future__ import annotations

import os
import time

from collections import deque
from typing import Callable, Deque, Iterable, Iterator, Optional, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._packed import HEAD_BYTES, kind_of, missing, unpack

CHUNK_BYTES = 1 << 16
BLOCK_BYTES = 1 << 13  # looked at in one place while searching
SMALL_BYTES = 1 << 18  # such a file is read whole
UNPACKED_BYTES = 1 << 29  # of one packed file: some seconds
JUMPS = 16  # how often the clock may have run backwards

ReadAt = Callable[[int, int], bytes]  # (offset, length)


class Stored:
    """``size``: bytes that can be read, ``passed``: bytes before them that were not kept, ``written``: epoch of the last change,
    ``reason``: why its end is missing, or ""."""

    def __init__(self, read_at: ReadAt, size: int, written: float, reason: str = "", passed: int = 0) -> None:
        self.read_at = read_at
        self.size = size
        self.written = written
        self.reason = reason
        self.passed = passed

    def chunks(self, begin: int) -> Iterator[bytes]:
        """From ``begin`` to the end that the file had when it was opened."""
        while begin < self.size:
            part = self.read_at(begin, min(CHUNK_BYTES, self.size - begin))
            if not part:
                self.reason = "the file was emptied while it was read"
                return
            begin += len(part)
            yield part


def opened(handle: int, keep_bytes: int, deadline: float) -> Stored:
    """Of a descriptor, which must stay open; of a packed file the last ``keep_bytes`` are kept, unpacked, with 0 it stays packed."""
    status = os.fstat(handle)
    file = Stored(lambda offset, length: os.pread(handle, length, offset), status.st_size, status.st_mtime)
    if not keep_bytes or not kind_of(file.read_at(0, HEAD_BYTES)):
        return file
    data, passed, reason = _unpacked(file.chunks(0), keep_bytes, deadline)
    return Stored(lambda offset, length: data[offset : offset + length], len(data), status.st_mtime, reason, passed)


def _unpacked(packed: Iterable[bytes], keep_bytes: int, deadline: float) -> Tuple[bytes, int, str]:
    """(the newest bytes, how many are before them, why the end is missing) of a packed file."""
    ring: Deque[bytes] = deque()
    kept = total = 0
    reason = ""
    try:
        for part in unpack(packed, CHUNK_BYTES):
            ring.append(part)
            kept, total = kept + len(part), total + len(part)
            while kept - len(ring[0]) >= keep_bytes:
                kept -= len(ring.popleft())
            if total > UNPACKED_BYTES or time.monotonic() > deadline:
                reason = "only the first %d bytes of the compressed file were unpacked" % total
                break
    except ValueError as problem:
        reason = missing(problem, total)
    return b"".join(ring), total - kept, reason


def window_of(stored: Stored, newest: Callable[[bytes], Optional[float]], since: float) -> int:
    """Offset before which no line is of ``since`` or later; the line it falls into is not complete. newest: the latest time in a block, or
    None.

    Bisection. Where the clock was set back, times run backwards; what it then finds is still right for all that was written after that
    place. So it looks back from there at growing distances, and goes on before a place that is of the window again: lines of the window
    are passed over only when more bytes of lines that claim to be older lie behind them. A place without any time counts as of the window.
    """
    if stored.size <= SMALL_BYTES:
        return 0

    def inside(offset: int, until: int) -> bool:
        step = BLOCK_BYTES
        while offset < until:  # a line may be long
            found = newest(stored.read_at(offset, BLOCK_BYTES))
            if found is not None:
                return found >= since
            offset, step = offset + step, 2 * step
        return True

    begin = stored.size
    for _jump in range(JUMPS):
        low, high = 0, begin
        while high - low > BLOCK_BYTES:
            middle = (low + high) // 2
            if inside(middle, high):
                high = middle
            else:
                low = middle
        begin, distance = low, BLOCK_BYTES
        while begin > 0:
            back = max(0, low - distance)
            if inside(back, low):
                begin = back
                break
            if back == 0:
                return low
            distance *= 2
        if begin == 0:
            return 0
    return 0
