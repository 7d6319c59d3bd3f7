# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Failed jobs as people copy them from Sidekiq's web UI and console. Private to this collection.

Source: web/views/retry.erb (one job) and retries.erb (the list) of sidekiq/sidekiq.
"""

from __future__ import annotations

import re
import typing as t

# Sidekiq's web UI: the page of a job has class and message of its error in two lines, lists of jobs have both at the end of one.
_JOB_FIELD = re.compile(r"\s*(Job|Error Class) ?(?::|\t| {1,2})\s{0,20}([A-Z]\w+(?:::\w+)*)\s*\Z")
_ERROR_MESSAGE = re.compile(r"\s*Error Message ?(?::|\t| {1,2})\s{0,20}(\S.{0,4000})")
_PRINTED_CLASS = re.compile(r'\s*"error_class" ?(?:=>|:) ?"([A-Z][\w:]{2,100})",?\s*$')  # of a job that was printed over several lines
_PRINTED_MESSAGE = re.compile(r'\s*"error_message" ?(?:=>|:) ?"((?:\\.|[^"\\]){1,2000})"(?:,|\}|\s)*$')
QUEUES = "default|push|ingress|mailers|pull|scheduler|fasp"
_QUEUED = re.compile(rf"\s*(?:{QUEUES})\t([A-Z][\w:]{{0,110}}(?:Worker|Job|Scheduler|Service))(?:\t|\Z)")  # its error is in the next line
_RAISED = re.compile(r"([A-Z]\w+(?:::\w+)*): (.*)")
_RETRY = re.compile(rf"(?:[^\t]{{1,40}}\t){{0,3}}(?:{QUEUES})\t([A-Z][\w:]{{2,120}})\t(?:[^\t]*\t)?([A-Z][\w:]{{2,100}}): (.*)")
# The same when it was copied out of a table.
_SPACED = re.compile(rf"\s*(?:{QUEUES}) {{2,20}}([A-Z][\w:]{{2,80}})(?: \w{{2,60}})? {{2,20}}([A-Z][\w:]{{2,100}}): (.*)")


class Failure(t.NamedTuple):
    """A job that failed; "unknown" where the page does not say which."""

    job: str
    error_class: str
    message: str


class SidekiqPages:
    """Feed ``told`` the lines of one log in their order, those that a service wrote left out."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}  # of the page of one job
        self._queued = ""  # a job whose error may be in the next line

    def told(self, text: str) -> list[Failure] | None:
        """None for a line of no such page; else what it says to have failed, which may be nothing yet."""
        named, said, retry = _JOB_FIELD.match(text), _ERROR_MESSAGE.match(text), _RETRY.match(text) or _SPACED.match(text)
        printed, message = _PRINTED_CLASS.match(text), _PRINTED_MESSAGE.match(text)
        job, queued = self._queued, _QUEUED.match(text)
        self._queued = ""
        raised = _RAISED.match(text) if job else None
        if named:
            self._fields[named[1]] = named[2]
            return []
        if said and "Error Class" in self._fields:
            return [Failure(self._fields.pop("Job", "unknown"), self._fields.pop("Error Class"), said[1])]
        if retry:
            return [Failure(*retry.groups())]
        if raised:
            return [Failure(job, *raised.groups())]
        if queued:
            self._queued = queued[1]
            return []
        if printed:
            return [Failure("unknown", printed[1], "")]
        return [Failure("unknown", "StandardError", message[1])] if message else None
