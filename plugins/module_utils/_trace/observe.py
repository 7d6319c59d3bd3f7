# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request through all logs of this host: find its id, read around it, say which lines are its own and how that is known.

``observe`` may be asked twice: first alone, then with ``clues`` of all hosts, since a database or a proxy on another host than the
application cannot know the id, only time, path and words.
"""

from __future__ import annotations

import json
import re
import uuid

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._lines import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import logs
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import Redactor, strip_controls
from ansible_collections.fediops.mastodon.plugins.module_utils._request_id import needles, word
from ansible_collections.fediops.mastodon.plugins.module_utils._tally import Tally
from ansible_collections.fediops.mastodon.plugins.module_utils._trace import unanswered, whole
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.follow import Clues, Linked, follow, moment
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.reader import Reader, merged
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
    from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Record

MOST_LINES = 2000
MOST_SPANS = 20
MOST_SECONDS = 3600.0  # of logs that are read as a whole
TEXT_LIMIT = 1000
RESULT_BYTES = 2 << 20  # of all lines, as JSON
BLOCK_SECONDS = 2.0
_JOB = re.compile(r"[0-9a-f-]{12,36}\Z")


def observe(host: Host, install: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The trace of this host: lines, clues, stacks, sources, left_out, logs (counted signatures), unanswered (without an id).

    options: request_id, since_epoch, deadline (time.monotonic()), signatures, secrets, clues (of ``mastodon_trace_info``, or empty).
    """
    request_id = str(options["request_id"])
    reader = Reader(host, install, float(options["since_epoch"]), float(options["deadline"]))
    show = _Shower(request_id, options.get("secrets") or ())
    tally = Tally(options.get("signatures") or {}, options.get("secrets") or ())
    tally.foreign = logs.foreign_of(install, logs.nginx_of(host, install))
    if not request_id:
        return _without_id(reader, show, tally)
    given = options.get("clues") or {}
    spans = [Span(float(since), float(until)) for since, until in given.get("spans") or ()]
    clues = Clues(given.get("requests") or (), given.get("errors") or (), given.get("jobs") or (), float(given.get("slack_seconds", 2.0)))
    unread = 0
    if not given:
        hits = [record for record in reader.find(needles(request_id), reader.since) if word(request_id).search(record.text)]
        spans = _newest(merged(Span(hit.time - BLOCK_SECONDS, hit.time + BLOCK_SECONDS) for hit in hits))
        unread = sum(1 for hit in hits if not any(span.since <= hit.time <= span.until for span in spans))
        own = follow(request_id, reader.between(spans, ("web", "sidekiq", "streaming", "proxy")), Clues())
        requests = whole.requests(own)
        spans = _newest(merged([*spans, *(Span(one["start"] - 2.0, one["end"] + 2.0) for one in requests)]))
        clues = Clues(requests, whole.errors(whole.stacks(own)), whole.enqueued(own))
    linked = follow(request_id, _records(reader, spans, clues), clues)
    stacks = whole.stacks(linked)
    result = _told(linked, show, tally)
    result["left_out"] += unread
    result["clues"] = {
        "spans": [list(span) for span in spans],
        "requests": [_public(one, show) for one in whole.requests(linked)],
        "errors": [show.text(text, 2048) for text in whole.errors(stacks)],
        "jobs": list(dict.fromkeys([*clues.jobs, *whole.enqueued(linked)])),
    }
    result["stacks"] = [_clean_stack(stack, show) for stack in stacks]
    result["sources"] = reader.sources
    return result


def _newest(spans: list[Span]) -> list[Span]:
    """The newest of these, so few that reading them stays bounded: a visitor may send one id all day long."""
    found: list[Span] = []
    room = MOST_SECONDS
    for span in reversed(spans[-MOST_SPANS:]):
        if room <= 0:
            break
        found.append(Span(max(span.since, span.until - room), span.until))
        room -= span.until - span.since
    return found[::-1]


def _records(reader: Reader, spans: list[Span], clues: Clues) -> list[Record]:
    """What was said while the request ran, and by Sidekiq whenever it worked on its jobs."""
    records = reader.between(spans)
    if clues.jobs and spans:
        named = reader.find([ident.encode() for ident in clues.jobs], spans[0].since, ("sidekiq",), every=True)
        seen = {(record.name, record.pid, record.time, record.text) for record in records}
        times = _newest(merged(Span(hit.time - BLOCK_SECONDS, hit.time + BLOCK_SECONDS) for hit in named))
        later = reader.between(times, ("sidekiq",))
        records += [one for one in later if one.origin == "sidekiq" and (one.name, one.pid, one.time, one.text) not in seen]
    return records


def _without_id(reader: Reader, show: _Shower, tally: Tally) -> dict[str, Any]:
    found = reader.find(unanswered.NEEDLES, reader.since, ("proxy",), every=True)
    events, records = unanswered.answers(found, tally.foreign)
    linked = [Linked(record, parse("proxy", record.text), "proxy") for record in sorted(records, key=moment)]
    told = _told(linked, show, tally)
    told["unanswered"] = [_public(event, show) for event in events]
    return {**told, "clues": {}, "stacks": [], "sources": reader.sources}


def _told(linked: list[Linked], show: _Shower, tally: Tally) -> dict[str, Any]:
    """The lines, bounded, and what the signatures say of those that are surely or likely the request's."""
    mine = [entry for entry in linked if entry.link != "time"]
    kept = linked if len(linked) <= MOST_LINES else mine[:MOST_LINES]
    for entry in mine:
        record = entry.record
        if not (entry.line.kind == "access" and tally.access(record.text.encode("utf-8", "ignore"), 0.0)):
            tally.add(record.origin, record.name, record.time, record.text.encode("utf-8", "ignore"), record.pid)
    counted = tally.result()
    del counted["_oom_kills"]
    lines: list[dict[str, Any]] = []
    room = RESULT_BYTES
    for entry in kept:
        told = _line(entry, show)
        room -= len(json.dumps(told))
        if room < 0:
            break
        lines.append(told)
    return {"lines": lines, "left_out": len(linked) - len(lines), "logs": counted}


def _line(entry: Linked, show: _Shower) -> dict[str, Any]:
    record, line = entry.record, entry.line
    told: dict[str, Any] = {"time_epoch": record.time, "origin": record.origin, "name": record.name[:256], "link": entry.link,
                            "text": show.text(record.text, TEXT_LIMIT)}  # fmt: skip
    told.update({key: value for key, value in (("pid", record.pid), ("severity", line.severity), ("job", show.job(entry.job))) if value})
    if entry.of > 1:
        told["of"] = entry.of
    if line.kind == "access":
        told.update({key: line.fields[key] for key in ("status", "upstream_status") if key in line.fields})
    return told


def _public(request: Mapping[str, Any], show: _Shower) -> dict[str, Any]:
    return {key: show.text(value, 500) if isinstance(value, str) else value for key, value in request.items()}


def _clean_stack(stack: Mapping[str, Any], show: _Shower) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key, value in stack.items():
        if isinstance(value, (str, float)):
            told[key] = value if isinstance(value, float) else show.text(value, 1000)
    if "job" in stack:
        told["job"] = show.job(stack["job"])
    told["frames"] = [show.text(frame, 300) for frame in stack["frames"]]
    if "causes" in stack:
        told["causes"] = [_clean_stack(cause, show) for cause in stack["causes"]]
    return told


class _Shower:
    """Text made fit to leave the host. An id that looks like a token would be masked in every line, so it is taken out before."""

    def __init__(self, request_id: str, secrets: Iterable[str]) -> None:
        self._redactor = Redactor(secrets)
        self._instead = str(uuid.uuid4())
        self._put_back: Callable[[str], str] = lambda text: text
        self._hidden: re.Pattern[str] | None = None
        if request_id and self._redactor.redact(request_id) != request_id:
            # Only where nothing follows that could make it the name of a secret.
            self._hidden = re.compile(word(request_id).pattern + r"(?=[\]\s\",})']|\Z)")
            self._put_back = lambda text: text.replace(self._instead, request_id)

    def job(self, ident: str) -> str:
        """The id of a job finds the job again and opens nothing."""
        return ident if _JOB.match(ident) else self.text(ident, 60)

    def text(self, text: str, limit: int) -> str:
        if self._hidden is None:
            return self._redactor.clean(text, limit)
        return self._put_back(self._redactor.clean(self._hidden.sub(self._instead, strip_controls(text[:32768])), limit))
