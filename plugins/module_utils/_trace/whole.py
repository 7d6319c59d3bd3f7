# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of one request read as a whole: what was asked and answered, the exceptions with their stack, the jobs that it enqueued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._redact import strip_controls
from ansible_collections.fediops.mastodon.plugins.module_utils._trace import jobs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.fediops.mastodon.plugins.module_utils._trace.follow import Linked

MOST_FRAMES = 60
MOST_STACKS = 20
MOST_CAUSES = 8
OPEN_SECONDS = 5.0


def requests(linked: Iterable[Linked]) -> list[dict[str, Any]]:
    """Request lines of the application: method path status controller action, start and end; a reused id has several. When there are
    none, those of a proxy that logs ids."""
    found = []
    asked = []
    for entry in linked:
        fields = entry.line.fields
        if entry.record.origin == "proxy" and entry.line.kind == "access" and entry.link == "id":
            path = str(fields.get("path", "")).partition("?")[0]
            asked.append({"method": fields.get("method", ""), "path": path, "status": fields.get("status"), "name": entry.record.name,
                          "start": entry.record.time - 1.0, "end": entry.record.time, "origin": "proxy"})  # fmt: skip
        if entry.record.origin == "web" and entry.line.kind == "request":
            request: dict[str, Any] = {key: fields[key] for key in ("method", "path", "status", "controller", "action") if key in fields}
            try:
                seconds = min(max(float(fields.get("duration", 0)) / 1000, 0.0), 3600.0)
            except ValueError:
                seconds = 0.0
            request.update(start=entry.record.time - seconds, end=entry.record.time, name=entry.record.name, origin="web")
            found.append(request)
    return found or asked


def enqueued(linked: Iterable[Linked]) -> list[str]:
    """Ids of jobs that lines of the request name."""
    found = [ident for entry in linked if entry.record.origin == "web" and entry.link == "id"
             for ident in jobs.enqueued(strip_controls(entry.record.text))]  # fmt: skip
    return list(dict.fromkeys(found))[: jobs.MOST_JOBS]


def stacks(linked: Iterable[Linked]) -> list[dict[str, Any]]:
    """Exceptions in order of time: {class message frames causes time_epoch origin name job?}; frames innermost first, as logged."""
    found: list[dict[str, Any]] = []
    current: dict[tuple[str, int, str], _Stack] = {}
    quick: dict[str, Any] | None = None
    for entry in linked:
        if entry.record.origin not in ("web", "sidekiq", "streaming", "command") or entry.link not in ("id", "block", "job"):
            continue
        kind, fields = entry.line.kind, entry.line.fields
        key = (entry.record.name, entry.record.pid, entry.job)
        stack = current.get(key)
        if kind == "request" and "class" in fields:  # Rails 6.1 says it in the request line too
            quick = quick or _told(entry, fields)
        if stack is not None and entry.record.time - stack.time > OPEN_SECONDS:
            stack = None
        if kind == "exception":
            told = _told(entry, fields)
            before = next((one for one in found if entry.job and _is_of_activejob(one, told)), None)
            if before is not None:
                before["job"] = told["job"]  # Sidekiq says once more what ActiveJob has told with its frames, and knows whose it is
                current.pop(key, None)
            elif stack is not None and stack.takes_causes and entry.record.origin == "web":
                stack.cause(fields)  # Rails 7.1 and 7.2 list causes in the same shape, the innermost last
            elif len(found) < MOST_STACKS:
                current[key] = _Stack(told, entry.record.time)
                found.append(current[key].told)
        elif stack is not None and kind == "cause":
            stack.cause(fields)
        elif stack is not None and kind == "frame":
            stack.frame(entry.line.text.strip())
        elif stack is not None:
            stack.about(strip_controls(entry.record.text))
    if quick is not None and not found:
        found.append(quick)
    return found


def _is_of_activejob(one: dict[str, Any], told: dict[str, Any]) -> bool:
    return "job" not in one and all(one[key] == told[key] for key in ("class", "message", "origin", "name"))


def errors(stack: Iterable[dict[str, Any]]) -> list[str]:
    """What the exceptions and their causes say, for finding the same words in the log of a service."""
    return list(dict.fromkeys(one["message"] for told in stack for one in [told, *told["causes"]] if one["message"]))[:50]


def _told(entry: Linked, fields: dict[str, Any]) -> dict[str, Any]:
    told = {"class": fields["class"], "message": fields["message"], "frames": [], "causes": [], "time_epoch": entry.record.time,
            "origin": entry.record.origin, "name": entry.record.name}  # fmt: skip
    if fields.get("frame"):
        told["frames"] = [fields["frame"]]
    if entry.job:
        told["job"] = entry.job
    return told


class _Stack:
    """One exception while its lines come in."""

    def __init__(self, told: dict[str, Any], time: float) -> None:
        self.told, self.time = told, time
        self.takes_causes = True
        self._target = told  # whose frames these are
        self._next = 0

    def cause(self, fields: dict[str, Any]) -> None:
        cause = {"class": fields["class"], "message": fields["message"], "frames": []}
        if len(self.told["causes"]) < MOST_CAUSES and (cause["class"], cause["message"]) != (self.told["class"], self.told["message"]):
            self.told["causes"].append(cause)

    def frame(self, text: str) -> None:
        self.takes_causes = False
        if len(self._target["frames"]) < MOST_FRAMES:
            self._target["frames"].append(text)

    def about(self, text: str) -> None:
        """``Information for cause: …`` of Rails 8: the frames behind it are of the next cause."""
        if text.startswith("Information for cause:") and self._next < len(self.told["causes"]):
            self._target = self.told["causes"][self._next]
            self._next += 1
