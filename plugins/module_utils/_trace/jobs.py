# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which job of Sidekiq belongs to a request, as far as logs tell.

Sidekiq gives a job an id of its own (jid) and writes nothing when it is enqueued, at no log level: no line ties a job that the
application enqueues itself (posts, deliveries) to its request. What goes through ActiveJob (Mastodon's mails) is told: the request logs
``Enqueued Class (Job ID: uuid)``, Sidekiq's process ``Performing Class (Job ID: uuid)``, and the report of a failed job quotes the uuid
beside the jid.
"""

from __future__ import annotations

import re

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._lines import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import strip_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Record

MOST_JOBS = 50
_ENQUEUED = re.compile(r"\[ActiveJob\] Enqueued [\w:]{1,200} \(Job ID: ([0-9a-f-]{36})\)")
_PERFORMING = re.compile(r"\[ActiveJob\] .{0,400}?Performing ([\w:]{1,200}) \(Job ID: ([0-9a-f-]{36})\)")
_UUID = re.compile(r"(?<![\w-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\w-])")
_JID = re.compile(r"(?:\bjid[\"=: >]{1,5}|\bJID-)([0-9a-f]{24})(?![0-9a-f])")


def enqueued(text: str) -> list[str]:
    """Ids of jobs that a line of a request names."""
    return [*_ENQUEUED.findall(text), *_JID.findall(text)]


def named(text: str, jobs: set[str]) -> bool:
    """Whether a line of Sidekiq's process names one of these jobs by its uuid."""
    return any(found in jobs for found in _UUID.findall(text))


def with_jids(records: Iterable[Record], jobs: Iterable[str]) -> set[str]:
    """These ids, and the jids that belong to the uuids among them. ``records``: of Sidekiq, in order of time.

    A job runs between its own ``start`` and ``done``. So a jid is known when its process runs no other job of this class.
    """
    known = set(jobs)
    running: dict[tuple[str, int], dict[str, str]] = {}
    for record in records:
        text = strip_controls(record.text)
        line = parse("sidekiq", text)
        here = running.setdefault((record.name, record.pid), {})
        if line.kind == "job" and line.id:
            if line.fields.get("word") == "start":
                here[line.id] = str(line.fields.get("class", ""))
            elif line.fields.get("word") in ("done", "fail"):
                here.pop(line.id, None)
        if line.id and line.thread and named(text, known):
            known.add(line.id)
        performing = _PERFORMING.search(text)
        if performing and performing.group(2) in known:
            same = [jid for jid, name in here.items() if name == performing.group(1)]
            if len(same) == 1:
                known.add(same[0])
        if len(known) > MOST_JOBS:
            break
    return known
