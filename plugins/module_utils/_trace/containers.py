# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of containers of a compose project for a trace, asked of their engine."""

from __future__ import annotations

import time as clock

from collections import deque
from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._line import decoded
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import container_logs
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.backwards import backwards
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import MOST_HITS, Record, Source, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._engine import Engine

SEARCH_LINES = 100000000  # no limit: the time is
SEARCH_BYTES = 1 << 42
WINDOW_LINES = 60000
WINDOW_BYTES = 64 << 20


def find(
    engine: Engine, unit: Mapping[str, Any], needles: Sequence[bytes], since: float, every: bool, deadline: float, source: Source
) -> list[Record]:
    """The lines that hold one of the needles: those that lie together, or ``every`` one."""

    def look(begin: float, until: float) -> list[Record]:
        stream = engine.logs(unit["_container"], begin, SEARCH_LINES, unit["_tty"], deadline, SEARCH_BYTES, until)
        lines = (_record(unit, when, line) for when, line in container_logs.timed(stream) if any(needle in line for needle in needles))
        found = deque(lines, MOST_HITS)
        source.newest_only = source.newest_only or len(found) == MOST_HITS
        if stream.truncated:
            source.cut(stream.reason, until or clock.time())
        return list(found)

    return backwards(look, since, every, source)


def window(engine: Engine, unit: Mapping[str, Any], deadline: float, spans: Sequence[Span], source: Source) -> list[Record]:
    """Every line of these spans."""
    return [record for span in spans for record in _span(engine, unit, span, deadline, source)]


def _span(engine: Engine, unit: Mapping[str, Any], span: Span, deadline: float, source: Source) -> Iterator[Record]:
    stream = engine.logs(unit["_container"], span.since, WINDOW_LINES, unit["_tty"], deadline, WINDOW_BYTES, span.until)
    for when, line in container_logs.timed(stream):
        if span.since <= when <= span.until:
            yield _record(unit, when, line)
    if stream.truncated:
        source.cut(stream.reason, 0.0)


def _record(unit: Mapping[str, Any], when: float, line: bytes) -> Record:
    return Record(when, str(unit["role"]), str(unit["name"]), 0, decoded(line))
