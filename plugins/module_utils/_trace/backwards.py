# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A search that begins now and goes back slice by slice: who asks for a request mostly saw it a moment ago."""

from __future__ import annotations

import time as clock

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import EARLIER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Record, Source

SLICES = (900.0, 7200.0, 43200.0, 1e12)  # seconds back from now


def backwards(
    look: Callable[[float, float], list[Record]], since: float, every: bool, source: Source, at_once: bool = False
) -> list[Record]:
    """What ``look(since, until)`` finds (until is 0.0 for the newest slice). Unless ``every`` is wanted it ends some way before the oldest
    of them; when ``look`` says that a slice was cut, with it. at_once: in one slice, where older ones cost the same."""
    found: list[Record] = []
    until = 0.0
    for age in SLICES[-1:] if at_once else SLICES:
        begin = max(since, clock.time() - age)
        found += look(begin, until)
        ended = found and not every and min(record.time for record in found) > begin + EARLIER_SECONDS
        if source.reason or source.newest_only or ended or begin <= since:
            break
        until = begin
    source.found += len(found)
    return found
