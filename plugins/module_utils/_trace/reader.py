# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All logs of a host that may know of a request, behind two questions: where does a text stand, and what was said between two times."""

from __future__ import annotations

import time as clock

from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._trace import files, journal
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Record, Source, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host


class Reader:
    """``install``: of the subset install, with its units. ``sources`` tells what was searched, and what could not be read."""

    def __init__(self, host: Host, install: Mapping[str, Any], since: float, deadline: float) -> None:
        self.host, self.since, self.deadline = host, since, deadline
        self.units = {str(unit["name"]): str(unit["role"]) for unit in install.get("units") or () if unit.get("name")}
        self.places = files.places(host, install, since)
        self._sources: dict[tuple[str, str], Source] = {}

    def find(self, needles: Sequence[bytes], since: float, origins: Iterable[str] = (), every: bool = False) -> list[Record]:
        """Lines since then that hold one of the needles: those that lie together, or ``every`` one. Half of the time left may be used."""
        wanted = set(origins)
        until = clock.monotonic() + max(1.0, (self.deadline - clock.monotonic()) / 2)
        found: list[Record] = []
        for origin, path in self.places:
            if not wanted or origin in wanted:
                found += self._try(origin, path, "file", partial(files.find, self.host, path, needles, since, every))
        units = {name: role for name, role in self.units.items() if not wanted or role in wanted}
        if units:
            found += self._try("system", "journal", "journal", partial(journal.find, self.host, units, needles, since, every, until))
        return found

    def between(self, spans: Sequence[Span], origins: Iterable[str] = ()) -> list[Record]:
        """Every line of these spans of time, which must not overlap (``merged``)."""
        wanted = set(origins)
        units = {name: role for name, role in self.units.items() if not wanted or role in wanted}
        found: list[Record] = []
        for origin, path in self.places if spans else ():
            if not wanted or origin in wanted:
                found += self._try(origin, path, "file", partial(files.window, self.host, path, spans))
        for since, until in spans if units else ():
            found += self._try("system", "journal", "journal", partial(journal.window, self.host, units, since, until, self.deadline))
        return found

    @property
    def sources(self) -> list[dict[str, Any]]:
        return [source.told() for source in self._sources.values()]

    def _try(self, origin: str, name: str, kind: str, read: Callable[[Source], list[Record]]) -> list[Record]:
        """One source that cannot be read must not lose the others."""
        source = self._sources.setdefault((origin, name), Source(origin, name, kind))
        if clock.monotonic() > self.deadline:
            source.cut("the time was up", 0.0)
            return []
        try:
            return read(source)
        except HostError as problem:
            source.cut(str(problem), 0.0)
        except (OSError, ValueError, MemoryError) as problem:
            source.cut("it could not be read: %s" % type(problem).__name__, 0.0)
        return []


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same times without overlaps, in order."""
    found: list[Span] = []
    for since, until in sorted(spans):
        if found and since <= found[-1].until:
            found[-1] = Span(found[-1].since, max(found[-1].until, until))
        else:
            found.append(Span(since, until))
    return found
