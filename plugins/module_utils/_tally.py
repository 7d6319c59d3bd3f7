# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts what the lines of a host's logs say: requests, posts, jobs, exceptions, signatures, OOM kills. Memory is bounded.

Healthy request and job lines are most of a log: they are recognised as bytes and never become a ``Line``.
"""

from __future__ import annotations

import re

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._exceptions import Exceptions, job_of, trouble
from ansible_collections.fediops.mastodon.plugins.module_utils._libraries import Libraries
from ansible_collections.fediops.mastodon.plugins.module_utils._line import LIMIT, Line, decoded, month_epoch
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._lines_strangers import APPLICATION, heard, ours
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import Redactor
from ansible_collections.fediops.mastodon.plugins.module_utils._remotes import Remotes
from ansible_collections.fediops.mastodon.plugins.module_utils._signatures import Matcher
from ansible_collections.fediops.mastodon.plugins.module_utils._traffic import Traffic

POSTS_PATH = "/api/v1/statuses"
OOM_LIMIT = 50
STATUS_LIMIT = 100

_POST = b"method=POST path=/api/v1/statuses "
_QUOTING = ("ArgumentError", "KeyError", "RangeError")  # Ruby's own, with a visitor's value in the message
_JOB_END = (b"INFO: done", b"INFO: start", b": done", b": start")
_ACCESS = re.compile(rb'\[(\d{1,2})/(\w{3})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})\] "[^"]*" (\d{3})[ \r\n]')
_SERVICE_OF = re.compile(r"/([^/]+\.(?:service|scope|slice))(?=/|\Z)")


class Requests:
    """Answers by status of one source of truth (the application, or the proxy)."""

    def __init__(self) -> None:
        self.total = 0
        self.by_status: Dict[str, int] = {}
        self.errors = 0
        self.first_error: Optional[float] = None
        self.last_error: Optional[float] = None

    def add(self, status: str, time: float) -> None:
        self.total += 1
        if status in self.by_status or len(self.by_status) < STATUS_LIMIT:
            self.by_status[status] = self.by_status.get(status, 0) + 1
        if status >= "500":
            self.errors += 1
            self.first_error = time if self.first_error is None else min(self.first_error, time)
            self.last_error = time if self.last_error is None else max(self.last_error, time)

    def result(self, times: bool = True) -> Dict[str, Any]:
        found: Dict[str, Any] = {"total": self.total, "by_status": dict(sorted(self.by_status.items())), "server_errors": self.errors}
        if times and self.first_error is not None:
            found.update(first_error_epoch=self.first_error, last_error_epoch=self.last_error)
        return found


class Tally:
    """Feed ``add`` line by line, then take ``result`` once. ``signatures``: see _signatures.Matcher; ``secrets``: values to mask;
    ``cured``: {issue: epoch}, what is older is not counted for that issue."""

    def __init__(
        self, signatures: Mapping[str, Mapping[str, Any]], secrets: Iterable[str] = (), cured: Optional[Mapping[str, float]] = None
    ) -> None:
        cured = cured or {}
        self.matcher = Matcher(signatures, cured)
        self._failures_since = cured.get("web_errors_5xx", 0.0)  # the issue that looks at requests, posts and exceptions
        self._oom_since = cured.get("oom_kill", 0.0)
        self.redactor = Redactor(secrets)
        self.exceptions = Exceptions()
        self.remotes = Remotes()
        self.requests = Requests()
        self.proxied = Requests()
        self.posts = Requests()
        self.traffic = Traffic()
        self.last_post: Optional[float] = None
        self.jobs = {"done": 0, "failed": 0, "delivered": 0}  # the last: those done that another server took something in
        self.oom_kills: List[Dict[str, Any]] = []
        self._threads: Dict[Tuple[str, str], Tuple[str, float]] = {}
        self._strange: Dict[str, float] = {}
        self._performed: Dict[Tuple[str, str, str], float] = {}
        self._libraries = Libraries()
        self._dates: Dict[bytes, float] = {}
        self.foreign: Optional[Callable[[Mapping[str, Any]], bool]] = None  # whether an error line is about another virtual host

    def add(self, origin: str, name: str, time: float, message: bytes, pid: int = 0) -> None:
        """One line of ``name`` (unit or path). ``time``: epoch from its source."""
        if origin == "web":
            at = message.find(b" status=")
            if at > 0 and message.find(b"method=", 0, at) >= 0:
                status = message[at + 8 : at + 11]
                if time >= self._failures_since:
                    self.traffic.request(message, status)
                if status < b"500" and status.isdigit() and b" error='" not in message:
                    self._answered(status.decode("ascii"), _POST in message, time)
                    return
        elif origin == "sidekiq" and message.endswith(_JOB_END):
            if message.endswith(b"done"):
                self.jobs["done"] += 1
                self.jobs["delivered"] += b"DeliveryWorker" in message
            return
        self._line(origin, name, time, decoded(message), pid)

    def _line(self, origin: str, name: str, time: float, text: str, pid: int) -> None:
        self.parsed(origin, name, time, parse(origin, text), pid)

    def parsed(self, origin: str, name: str, time: float, line: Line, pid: int = 0) -> None:
        """The same of a line that was parsed already."""
        kind = line.kind
        source = f"{name}/{pid}"
        ident = line.id
        sample: Optional[str] = None
        if kind != "frame" and origin in APPLICATION:
            self._libraries.spoke(source, line.text)
        if origin == "sidekiq":
            ident = job_of(line, self._threads, source, time) or ""
            if kind == "exception" and self._said_by_activejob(source, line, time):
                return
            if kind == "job":
                self._libraries.job(source, line)
                if line.fields["word"] == "done":
                    self.jobs["done"] += 1
                    self.jobs["delivered"] += line.fields["class"].endswith("DeliveryWorker")
                elif line.fields["word"] == "fail":
                    self.jobs["failed"] += 1
                    self.matcher.see(origin, name, time, "failed: " + line.fields["class"], ident)
        elif kind == "request":
            status = line.fields["status"]
            self._answered(str(status), line.fields["method"] == "POST" and line.fields["path"] == POSTS_PATH, time)
            sample = _request_text(line)
            if status < 500 and "class" not in line.fields:
                return
        elif kind == "access" or self._of_others(origin, line):  # of whom an access log is knows who reads it: see ``access``
            return
        elif origin == "kernel" and line.fields:
            self._oom(line, time)
        if time >= self._failures_since and (
            kind in ("exception", "cause", "frame", "more") or "class" in line.fields and kind == "request"
        ):
            self.exceptions.add(origin, source, line, ident, time)
            if "class" in line.fields and kind != "job":
                self.remotes.add(line.fields["class"], line.fields["message"])
        if kind == "text" and origin == "web" and time >= self._failures_since:
            self.traffic.limit(line.text)
        if line.text and kind != "frame" and not self._more_of_a_stranger(origin, source, line, time):
            text = heard(origin, line)
            if text:
                sample = line.text if sample is None else sample
                known = self.matcher.see(origin, name, time, text, ident, sample)
                if (not known or origin == "kernel" or origin in APPLICATION) and trouble(origin, line, text):  # signatures may be weak
                    self.exceptions.add_line(origin, text, time)
                behind = self._libraries.told(source, line, text) if origin in APPLICATION else ""
                if behind:
                    self.matcher.see(origin, name, time, behind, ident, sample)
        elif kind == "frame":
            text = self._libraries.frame(source, line)
            if text:
                self.matcher.see(origin, name, time, text, ident, text)

    def _said_by_activejob(self, source: str, line: Line, time: float) -> bool:
        """Whether ActiveJob has just told the failure that Sidekiq tells here: it is counted once, where its backtrace is."""
        failure = (source, line.fields["class"], line.fields["message"])
        if line.thread or "job" not in line.fields:
            return 0.0 <= time - self._performed.get(failure, -9.0) < 2.0
        self._performed.pop(failure, None)
        self._performed[failure] = time
        if len(self._performed) > 1024:
            del self._performed[next(iter(self._performed))]
        return False

    def _of_others(self, origin: str, line: Line) -> bool:
        return origin == "proxy" and bool(line.fields) and self.foreign is not None and self.foreign(line.fields)

    def _more_of_a_stranger(self, origin: str, source: str, line: Line, time: float) -> bool:
        """Whether the line has no prefix and follows an exception whose message a stranger may have written, with newlines in it."""
        if origin not in ("web", "sidekiq"):
            return False
        if line.severity and line.severity != "fatal" or line.id or line.thread or line.kind == "request":
            name = line.fields.get("class") if line.kind in ("exception", "cause", "request") else None
            if name and (not ours(name) or name in _QUOTING):
                self._strange[source] = time
                if len(self._strange) > 2048:
                    del self._strange[next(iter(self._strange))]
            elif line.kind in ("exception", "cause", "request", "job"):
                self._strange.pop(source, None)
            return False
        return 0.0 <= time - self._strange.get(source, -9.0) < 1.0

    def _answered(self, status: str, post: bool, time: float) -> None:
        if time < self._failures_since:
            return
        self.requests.add(status, time)
        if post:
            self.posts.add(status, time)
            if status < "400":
                self.last_post = time if self.last_post is None else max(self.last_post, time)

    def access(self, line: bytes, since: float, count: bool = True) -> bool:
        """One line of an access log; False when it is not in the combined format. Lines from before ``since`` are not counted."""
        match = _ACCESS.search(line)
        if match is None:
            return False
        key = line[match.start(1) : match.end(5)]
        time = self._dates.get(key)
        if time is None:
            day, month, year, hms, zone, _status = (part.decode("ascii", "ignore") for part in match.groups())
            time = month_epoch(month, int(day), hms, int(year), zone) or 0.0
            if len(self._dates) > 4096:
                self._dates.clear()
            self._dates[key] = time
        if count and time >= since and time >= self._failures_since:
            self.proxied.add(match.group(6).decode("ascii"), time)
        return True

    def _oom(self, line: Line, time: float) -> None:
        """Kernels write ``oom-kill:constraint=…`` and then ``Killed process``: one kill, known by its pid."""
        pid = line.fields["pid"]
        if time < self._oom_since:
            return
        for kill in self.oom_kills:
            if kill["pid"] == pid and abs(kill["time_epoch"] - time) < 60:
                return
        if len(self.oom_kills) >= OOM_LIMIT:
            del self.oom_kills[0]
        group = line.fields.get("cgroup", "")
        units = _SERVICE_OF.findall(group)
        kill = {"process": line.fields["process"][:64], "pid": pid, "time_epoch": time, "scope": line.fields["scope"]}
        if group:
            kill["cgroup"] = group[:300]
        if units:
            kill["unit"] = units[-1][:120]
        self.oom_kills.append(kill)

    def result(self, samples: int = 3, limit: int = 300, groups: int = 20) -> Dict[str, Any]:
        """The counting part of ``logs`` of the contract, and ``_oom_kills``."""
        posts: Dict[str, Any] = {"total": self.posts.total, "failed": self.posts.errors}
        if self.last_post is not None:
            posts["last_ok_epoch"] = self.last_post
        if self.posts.last_error is not None:
            posts["last_failed_epoch"] = self.posts.last_error
        exceptions, other = self.exceptions.result(self.redactor, groups, limit)
        for entry in exceptions:
            told = {"class": entry["class"], "message": entry["message"]}
            named = Line("exception", f"{entry['class']}: {entry['message']}", "error", fields=told)
            entry["signatures"] = self.matcher.match(entry["origin"], heard(entry["origin"], named))
        return {
            "requests": {**self.requests.result(), **self.traffic.requests()},
            "rate_limits": self.traffic.limits(),
            "posts": posts,
            "proxy_requests": self.proxied.result(times=False),
            "jobs": dict(self.jobs),
            "exceptions": exceptions,
            "exceptions_other": other,
            "remotes": self.remotes.result(),
            "signatures": self.matcher.result(self.redactor, samples, limit),
            "_oom_kills": [{key: value for key, value in kill.items() if key != "pid"} for kill in self.oom_kills],
        }


def _request_text(line: Line) -> str:
    """A request line without the fields that tell nothing, so that its error is not cut off."""
    fields = line.fields
    text = f"[{line.id}] method={fields['method']} path={fields['path']} status={fields['status']}"
    return f"{text} error='{fields['class']}: {fields['message']}'" if "class" in fields else text


def text_of(message: bytes) -> str:
    """A line of a file as text, bounded."""
    return decoded(message[: 2 * LIMIT])
