# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clocks of hosts against each other, and what one host knows of a request put into the time of another. Private to this collection."""

from __future__ import annotations

import typing as t

SLACK_SECONDS = 2.0

Offset = tuple[float, float]  # host minus controller, seconds: not less than the first, not more than the second


def offset(first_epoch: float, last_epoch: float, asked: float, answered: float) -> Offset:
    """What a call says of the host's clock: the module began after it was asked for and was done before its answer was here."""
    return last_epoch - answered, first_epoch - asked


def narrowed(one: Offset, other: Offset) -> Offset:
    """Both are true. A clock that was set in between leaves the later one."""
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low <= high else other


def ahead(one: Offset | None, other: Offset | None) -> float:
    """Seconds that the first clock is ahead of the second for sure; negative when it is behind, 0.0 when that cannot be told."""
    if one is None or other is None:
        return 0.0
    if one[0] > other[1]:
        return one[0] - other[1]
    return one[1] - other[0] if one[1] < other[0] else 0.0


def offset_of(trace: t.Mapping[str, t.Any]) -> Offset | None:
    told = trace.get("clock")
    pair = told.get("offset_seconds") if isinstance(told, dict) else None
    return (float(pair[0]), float(pair[1])) if isinstance(pair, (list, tuple)) and len(pair) == 2 else None


def clues_for(host: str, traces: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Clues of all hosts in the time of this one; empty when no other host knows anything of the request."""
    merged: dict[str, t.Any] = {"spans": [], "requests": [], "errors": [], "jobs": [], "slack_seconds": SLACK_SECONDS}
    news = False
    here = offset_of(traces.get(host, {}))
    for name, trace in traces.items():
        clues = trace.get("clues") or {}
        if not clues.get("spans"):
            continue
        news = news or name != host
        shift = 0.0
        there = offset_of(trace)
        if name != host and here is not None and there is not None and ahead(here, there):
            shift = (sum(here) - sum(there)) / 2
            merged["slack_seconds"] = max(merged["slack_seconds"], SLACK_SECONDS + (here[1] - here[0] + there[1] - there[0]) / 2)
        merged["spans"] += [[since + shift, until + shift] for since, until in clues["spans"]]
        merged["requests"] += [{**one, "start": one["start"] + shift, "end": one["end"] + shift} for one in clues.get("requests", ())]
        for key in ("errors", "jobs"):
            merged[key] += [one for one in clues.get(key, ()) if one not in merged[key]]
    if not news:
        return {}
    from_web = [one for one in merged["requests"] if one.get("origin") == "web"]
    merged["requests"] = from_web or merged["requests"]
    slack = merged["slack_seconds"]
    merged["spans"] = _merged([[since - slack, until + slack] for since, until in merged["spans"]])
    return merged


def _merged(spans: list[list[float]]) -> list[list[float]]:
    found: list[list[float]] = []
    for since, until in sorted(spans):
        if found and since <= found[-1][1]:
            found[-1][1] = max(found[-1][1], until)
        else:
            found.append([since, until])
    return found
