# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines belong to a request, and how that is known. Pure: records in, links out.

id: the line carries the id. block: it continues such a line. job: it is of a job that a line of the request names. error: PostgreSQL, which
knows no request ids, reports the very error that the request died of, at that time. request: the proxy, whose log has no ids, tells of the
same method, path and time. time: somebody's trouble in the very moment, not known to belong to it.
"""

from __future__ import annotations

import json
import re

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._exceptions import job_of
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import strip_controls
from ansible_collections.fediops.mastodon.plugins.module_utils._request_id import TELLING, word
from ansible_collections.fediops.mastodon.plugins.module_utils._trace import jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._line import Line
    from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Record

BLOCK_SECONDS = 2.0  # lines of one message come within this
MOST_AT_THAT_TIME = 20
_VISITOR = re.compile(r'"[^"]*" \d{3} \S+(?: "[^"]*" "[^"]*")?')  # of an access log: request, status, bytes, referrer, agent
_ASKED = re.compile(r', request: "([A-Z]{1,20}) ([^ "?]*)')
_PUMA = re.compile(r"\[\d{1,8}\] ")
_POSTGRES_WORD = re.compile(r"^[^\W\d_]{3,12} ?: +")
_POSTGRES_PLACE = re.compile(r" (?:at character|bei Zeichen|au caractère) \d+\s*$")  # the application's message may lack it
_BLANKS = re.compile(r"\s+")
_DETAILS = ("statement", "more")


class Linked(NamedTuple):
    """A record, what it says, how it is tied to the request, the job it is of, and of how many like it it is one."""

    record: Record
    line: Line
    link: str
    job: str = ""
    of: int = 1


class Clues(NamedTuple):
    """What other hosts and earlier passes know of the request. Times are this host's, ``slack`` seconds sure."""

    requests: Sequence[Mapping[str, Any]] = ()  # start end method path status
    errors: Sequence[str] = ()
    jobs: Sequence[str] = ()
    slack: float = 2.0


def moment(record: Record) -> float:
    """Where a line stands in time. Without fractions it comes behind those of its second: a proxy logs what it answered."""
    return record.time + 0.999999 if record.time == int(record.time) else record.time


def follow(request_id: str, records: Iterable[Record], clues: Clues) -> list[Linked]:
    """The lines of the request among these, in order of time."""
    every = sorted(records, key=moment)
    known = jobs.with_jids((record for record in every if record.origin == "sidekiq"), clues.jobs)
    follower = _Follower(request_id, known, clues)
    found = [linked for linked in map(follower.look, every) if linked is not None]
    return _candidates(found, clues)


def _candidates(found: list[Linked], clues: Clues) -> list[Linked]:
    """Of what is tied by likeness: whose status fits when any does, how many alike there are, and of bystanders only some."""
    statuses = {request.get("status") for request in clues.requests}
    fitting = {entry.record.name for entry in found if entry.link == "request" and entry.line.fields.get("status") in statuses}
    kept = []
    for entry in found:
        status = entry.line.fields.get("status")
        if entry.link == "request" and status is not None and entry.record.name in fitting and status not in statuses:
            continue
        kept.append(entry)
    alike: dict[tuple[str, str, str], int] = {}
    for entry in kept:
        alike[_kind(entry)] = alike.get(_kind(entry), 0) + 1
    near = 0
    result = []
    for entry in kept:
        near += entry.link == "time"
        if entry.link != "time" or near <= MOST_AT_THAT_TIME:
            result.append(entry._replace(of=alike[_kind(entry)]) if entry.link in ("request", "error") else entry)
    return result


def _kind(entry: Linked) -> tuple[str, str, str]:
    return entry.link, entry.record.name, entry.line.kind


class _Follower:
    def __init__(self, request_id: str, known_jobs: set[str], clues: Clues) -> None:
        self.id, self.jobs, self.clues = request_id, known_jobs, clues
        self.word = word(request_id)
        self.telling = len(request_id) >= TELLING
        self.errors = [_plain(text) for text in clues.errors]
        self.open: dict[tuple[str, int], tuple[float, str]] = {}  # source: when its last line of ours was, and the job it is of
        self.threads: dict[tuple[str, str], tuple[str, float]] = {}

    def look(self, record: Record) -> Linked | None:
        text = strip_controls(record.text)
        line = parse(record.origin, text)
        if record.origin == "proxy":
            link = self._proxy(record, line, text)
        elif record.origin == "database":
            link = self._database(record, line, text)
        elif record.origin in ("web", "sidekiq", "streaming", "command"):
            link, job = self._application(record, line, text)
            return Linked(record, line, link, job) if link else None
        else:
            link = "id" if self.telling and self.word.search(text) else ""
        if not link and self._bystander(record, line):
            link = "time"
        return Linked(record, line, link) if link else None

    def _application(self, record: Record, line: Line, text: str) -> tuple[str, str]:
        key = (record.name, record.pid)
        job = ""
        if record.origin == "sidekiq":
            job = job_of(line, self.threads, "%s/%d" % key, record.time) or ""
            job = job if job in self.jobs else ""
            link = "job" if job or jobs.named(text, self.jobs) else ""
        else:
            link = "id" if line.id == self.id else ""
        of_another = record.origin != "sidekiq" and line.id and line.id != self.id
        if not link and not of_another and self.telling and self.word.search(text):
            link = "id"
        if link:
            self.open[key] = (record.time, job)
            return link, job
        opened = self.open.get(key)
        continues = not (line.id or line.thread or line.severity or line.kind in ("request", "job", "access") or _PUMA.match(text))
        if opened and continues and record.time - opened[0] < BLOCK_SECONDS:
            self.open[key] = (record.time, opened[1])
            return "block", opened[1]
        self.open.pop(key, None)
        return "", ""

    def _proxy(self, record: Record, line: Line, text: str) -> str:
        if line.kind == "access":
            if line.id == self.id or (self.telling and self.word.search(_VISITOR.sub("", text))):
                return "id"
            if line.id not in ("", "-"):
                return ""  # another request's
            return self._asked(record, line.fields.get("method", ""), str(line.fields.get("path", "")).partition("?")[0])
        if text.startswith("{"):
            return "id" if self._in_json(text) else ""
        asked = _ASKED.search(text)
        return self._asked(record, asked.group(1), asked.group(2)) if asked else ""

    def _asked(self, record: Record, method: str, path: str) -> str:
        for request in self.clues.requests:
            if (method, path) == (request.get("method"), request.get("path")) and self._within(record, request):
                return "request"
        return ""

    def _in_json(self, text: str) -> bool:
        """Whether a value of a JSON access log is the id, what the visitor sent (Caddy: ``request``) left aside."""
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            return False
        waiting = [value for key, value in record.items() if key != "request"] if isinstance(record, dict) else []
        for _step in range(500):
            if not waiting:
                break
            value = waiting.pop()
            if value == self.id:
                return True
            if isinstance(value, (dict, list)):
                waiting += value.values() if isinstance(value, dict) else value
        return False

    def _database(self, record: Record, line: Line, text: str) -> str:
        key = (record.name, record.pid)
        if line.kind in _DETAILS:
            opened = self.open.get(key)
            if self.telling and self.word.search(text):  # somebody made the application put the id into its statements
                return "id"
            # Of a statement of several lines only the first: nobody can tell which part of the others is somebody's text.
            follows = opened and line.kind == "statement" and record.time - opened[0] < BLOCK_SECONDS
            return "block" if follows else ""
        self.open.pop(key, None)
        if self.telling and self.word.search(text):
            return "id"
        if line.severity not in ("error", "fatal"):
            return ""
        said = _plain(_POSTGRES_PLACE.sub("", _POSTGRES_WORD.sub("", line.text)))
        when = any(self._within(record, request) for request in self.clues.requests)
        if when and len(said) >= 12 and any(said in error for error in self.errors):
            self.open[key] = (record.time, "")
            return "error"
        return ""

    def _within(self, record: Record, request: Mapping[str, Any], most: float = 1e9) -> bool:
        slack = min(self.clues.slack, most)
        whole = 1.0 if record.time == int(record.time) else 0.0
        return float(request["start"]) - slack - whole <= record.time <= float(request["end"]) + slack

    def _bystander(self, record: Record, line: Line) -> bool:
        if record.origin in ("system", "kernel"):
            telling = bool(line.fields.get("event")) or "pid" in line.fields
        else:
            telling = line.severity in ("error", "fatal") or (record.origin == "redis" and line.severity == "warn")
            telling = telling and record.origin in ("database", "redis", "pooler")
        return telling and any(self._within(record, request, 1.0) for request in self.clues.requests)


def _plain(text: str) -> str:
    return _BLANKS.sub(" ", text).strip()
