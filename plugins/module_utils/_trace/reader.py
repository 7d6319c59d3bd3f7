# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All logs of a host that may know of a request, behind two questions: where does a text stand, and what was said between two times."""

from __future__ import annotations

import time as clock

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils import _engine
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import PARSERS
from ansible_collections.fediops.mastodon.plugins.module_utils._trace import containers, files, journal
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Record, Source, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host


SEARCH_SHARE = 0.75  # the rest is for reading around what was found
_JOURNAL = ("system", "journal", "journal")


class _Log(NamedTuple):
    """A file or a container: how a text is looked for in it, and how some spans of time are read."""

    origin: str
    name: str
    kind: str
    find: Callable[[Sequence[bytes], float, bool, float, Source], list[Record]]
    between: Callable[[Sequence[Span], Source], list[Record]]


class Reader:
    """``install``: of the subset install, with its units. ``sources`` tells what was searched, and what could not be read."""

    def __init__(self, host: Host, install: Mapping[str, Any], since: float, deadline: float) -> None:
        self.host, self.since, self.deadline = host, since, deadline
        every = [unit for unit in install.get("units") or () if unit.get("name")]
        self.units = {str(unit["name"]): str(unit["role"]) for unit in every if "_container" not in unit}
        self._sources: dict[tuple[str, str], Source] = {}
        self._logs = [
            _Log(origin, path, "file", partial(files.find, host, path), partial(files.window, host, path))
            for origin, path in files.places(host, install, since)
        ]
        for unit in every:
            if "_container" in unit and unit["role"] in PARSERS:
                engine = _engine.at(host, install["_engine"])
                self._logs.append(
                    _Log(unit["role"], unit["name"], "container", partial(containers.find, engine, unit),
                         partial(containers.window, engine, unit, deadline))
                )  # fmt: skip

    def find(self, needles: Sequence[bytes], since: float, origins: Iterable[str] = (), every: bool = False) -> list[Record]:
        """Lines since then that hold one of the needles: those that lie together, or ``every`` one. Most of the time left may be used."""
        until = clock.monotonic() + max(1.0, (self.deadline - clock.monotonic()) * SEARCH_SHARE)
        found: list[Record] = []
        for log in self._of(origins):
            found += self._try(*log[:3], partial(log.find, needles, since, every, until))
        units = self._units(origins)
        if units:
            found += self._try(*_JOURNAL, partial(journal.find, self.host, units, needles, since, every, until))
        return found

    def between(self, spans: Sequence[Span], origins: Iterable[str] = ()) -> list[Record]:
        """Every line of these spans of time, which must not overlap (``merged``)."""
        found: list[Record] = []
        for log in self._of(origins) if spans else ():
            found += self._try(*log[:3], partial(log.between, spans))
        units = self._units(origins)
        for span in spans if units else ():
            found += self._try(*_JOURNAL, partial(journal.window, self.host, units, span, self.deadline))
        return found

    def _of(self, origins: Iterable[str]) -> list[_Log]:
        wanted = set(origins)
        return [log for log in self._logs if not wanted or log.origin in wanted]

    def _units(self, origins: Iterable[str]) -> dict[str, str]:
        wanted = set(origins)
        return {name: role for name, role in self.units.items() if not wanted or role in wanted}

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
