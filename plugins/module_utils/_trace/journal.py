# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the journal for a trace: where a text stands (newest first), and all that was said between two times."""

from __future__ import annotations

import re
import time as clock

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils import _journal
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._line import decoded
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import PARSERS
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.backwards import backwards
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import MOST_HITS, Record, Source, Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

SEARCH_LINES = 100000000  # no limit: the time is
SEARCH_BYTES = 1 << 42
WINDOW_LINES = 60000
WINDOW_BYTES = 64 << 20
_START = b"\n\n__CURSOR="


def find(
    host: Host, units: Mapping[str, str], needles: Sequence[bytes], since: float, every: bool, deadline: float, source: Source
) -> list[Record]:
    """The entries that hold one of the needles, newest first. Unless ``every`` is wanted it ends some way before the oldest of them.

    journalctl looks for them itself where it can, six times as fast as it writes; entries that hold none are never taken apart here.
    """
    options = ["--reverse"]
    if _greps(host):
        options += ["--case-sensitive=yes", "--grep=" + "|".join(re.escape(needle.decode("ascii", "ignore")) for needle in needles)]

    def look(begin: float, until: float) -> list[Record]:
        more = ["--until=@%.6f" % until] if until else []
        return _search(host, units, needles, begin, (*options, *more), deadline, source, until or clock.time())

    return backwards(look, since, every, source)


def _search(
    host: Host, units: Mapping[str, str], needles: Sequence[bytes], since: float, options: Sequence[str], deadline: float, source: Source,
    until: float,
) -> list[Record]:  # fmt: skip
    stream = host.journal(units, since, SEARCH_LINES, deadline, SEARCH_BYTES, options)
    found: list[Record] = []
    rest = b""
    for chunk in stream:
        data = rest + chunk
        end = data.rfind(_START)
        if end < 0:
            rest = data if len(data) < _journal.ENTRY_LIMIT else data[-len(_START) :]
            continue
        whole, rest = data[: end + 2], data[end + 2 :]
        if any(needle in whole for needle in needles):
            found += _holding(whole, needles, units)
        if len(found) >= MOST_HITS:
            source.newest_only = True
            break
    else:
        found += _holding(rest, needles, units)
        if stream.truncated:
            source.cut(stream.reason, until)
    _close(stream)
    return found


def _greps(host: Host) -> bool:
    """Whether this journalctl was built with regular expressions, and finds the library for them."""
    try:
        return bool(host.run(["journalctl", "-q", "--no-pager", "-n", "1", "-o", "cat", "--grep=."], 5.0).out.strip())
    except HostError:
        return False


def window(host: Host, units: Mapping[str, str], span: Span, deadline: float, source: Source) -> list[Record]:
    """What the units said, systemd of them and the kernel, in that time."""
    stream = host.journal(units, span.since, WINDOW_LINES, deadline, WINDOW_BYTES, ("--until=@%.6f" % span.until,))
    records = []
    for entry in _journal.parse(stream):
        if span.since <= entry.time <= span.until:
            records.append(_record(entry, units))
    source.lines += len(records)
    if stream.truncated or len(records) >= WINDOW_LINES - 1:
        source.cut(stream.reason or "only %d lines of the time in question were read" % len(records), 0.0)
    return records


def _holding(data: bytes, needles: Sequence[bytes], units: Mapping[str, str]) -> list[Record]:
    return [_record(entry, units) for entry in _journal.parse([data]) if any(needle in entry.message for needle in needles)]


def _record(entry: _journal.Entry, units: Mapping[str, str]) -> Record:
    origin = "kernel" if entry.transport == "kernel" else "system" if entry.about else units.get(entry.unit, "system")
    name = "kernel" if origin == "kernel" else entry.unit
    return Record(entry.time, origin if origin in PARSERS else "system", name, entry.pid, decoded(entry.message))


def _close(stream: Any) -> None:
    """End journalctl now; it would else go on until its deadline."""
    chunks = iter(stream)
    if hasattr(chunks, "close"):
        chunks.close()
