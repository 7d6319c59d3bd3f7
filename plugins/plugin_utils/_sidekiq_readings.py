# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What administrators have Sidekiq print again and again, and hold against the clock: counters, jobs at work, queues and who takes them.

Private to this collection. Source: Sidekiq::Stats, Sidekiq::WorkSet, Sidekiq::ProcessSet of lib/sidekiq/api.rb, Sidekiq 6 to 8.
"""

from __future__ import annotations

import collections
import re

from ansible_collections.fediops.mastodon.plugins.plugin_utils._end_date import date_of
from ansible_collections.fediops.mastodon.plugins.plugin_utils._sidekiq_pages import QUEUES

_NUMBER = r"(\d[\d,]{0,15})\b"
_PROCESSED = re.compile(rf"\b[Pp]rocessed\b[\":=\s]{{1,3}}{_NUMBER}|(?<![\d,]){_NUMBER} Processed\b")
_ENQUEUED = re.compile(rf"\b[Ee]nqueued\b[\":=\s]{{1,3}}{_NUMBER}|(?<![\d,]){_NUMBER} Enqueued\b")
_SIZES = re.compile(rf"\b(?:{QUEUES}|size)=(\d{{1,9}})\b")
# A loop of the shell prints the time and what waits in each.
_TIMED = re.compile(rf"(?:\d{{4}}-\d\d-\d\d[T ])?\d\d:\d\d(?::\d\d)?[ :]{{1,3}}(?:\S{{1,20}} )?(?=(?:{QUEUES})[ :=]{{1,2}}\d)")
_TIMED_SIZES = re.compile(rf"\b(?:{QUEUES})[ :=]{{1,2}}(\d{{1,9}})\b")
_BUSY = re.compile(
    r"\[([1-9]\d{0,5}) of \1 busy\]|\bbusy[=: ]{1,2}([1-9]\d{0,5})/\2\b|\bBusy: {1,3}[1-9]|[1-9]\d{0,5} Busy\b|^busy [1-9]|\"busy\":[1-9]"
)
_IDLE, _WORKS = re.compile(r"\bsidekiq [\d.]+ \S{1,60} \[0 of [1-9]\d* busy\]"), re.compile(r"\[[1-9]\d* of \d+ busy\]")
# A question, and the numbers alone that answer it, in the order in which was asked.
_ASKED = re.compile(r"\b(?:llen|LLEN) \S*queue:|stat:processed\b|\.(?:enqueued|processed)\b")
_PROMPT = re.compile(r"(?:\S{1,80}[ :])?\S{0,80}[$#>] \S")
_ASKED_SECONDS = re.compile(r"\bSidekiq::Queue\b.{0,200}\.latency\b")
_SECONDS = re.compile(r"(?:=> )?(\d{1,9})\.\d{1,12}\s*\Z")
_ALONE = re.compile(r"(?:\(integer\) )?\[?\"?(\d{1,12})\"?(?:, (\d{1,12})){0,5}\]?\s*\Z")
_QUEUE = re.compile(rf"\b(?:{QUEUES})\b")
# As the set of jobs at work is printed: the time they began at the end.
_STARTED = re.compile(r"\b(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?: UTC| [+-]\d{4})?\s*\Z")
_JOB = re.compile(rf"\b\w{{1,80}}(?:Worker|Scheduler|Job)\b|\A\s{{0,4}}\S{{1,80}} {{1,4}}(?:{QUEUES}) {{1,4}}\d{{4}}-")
_LOGGED = re.compile(r"\b(?:pid=|tid=|TID-)")
_TAKES = re.compile(r"\bsidekiq\b.{0,200}? -q |\[\"[\w.:-]{1,80}\", (?:\d{1,6}, ){0,4}\[\"")
_TAKEN = re.compile(rf"(?:-q \W?|\")({QUEUES})\b")
_WAITS = re.compile(rf"(?:\A\s*|\[\")({QUEUES})(?:\s+|\", )(\d{{1,9}})\b(?!\s*-)(?:[,\s]+([\d,]{{1,12}})\b)?")
_PAUSE = re.compile(r"\bsleep[ (](\d{1,6})")
_BEAT_SECONDS = 300  # within which Mastodon's scheduler always has something to do
_DAY_SECONDS = 86400
_WAITED_SECONDS = 1800  # for the queue pull, too, whose jobs nobody waits for
_GROWN, _MANY, _LEFT, _LATE_SECONDS, _HOURS = 1.005, 10_000, 1000, 60, 3


class SidekiqReadings:
    """Feed ``told`` the lines of one log in their order, those that a service wrote left out."""

    def __init__(self) -> None:
        self._processed: collections.deque[int] = collections.deque(maxlen=2)
        self._waiting: collections.deque[int] = collections.deque(maxlen=2)
        self._asked: list[str] = []
        self._answers = 0
        self._asked_seconds = False
        self._busy = self._idle = self._works = self._paused = False
        self._newest = 0.0  # of the jobs at work
        self._at_work = 0
        self._taken: set[str] = set()

    def told(self, text: str) -> str:
        """What two of the lines together say, in words that signatures know; else empty."""
        self._busy = self._busy or _BUSY.search(text) is not None
        self._idle = self._idle or _IDLE.search(text) is not None
        self._works = self._works or _WORKS.search(text) is not None
        found = self._untaken(text) or self._hung(text) or self._waited(text)
        if self._read(text):
            found = found or self._compared()
        return found

    def _read(self, text: str) -> bool:
        """Take the readings of a line; whether there was one."""
        asked = [each[0] for each in _ASKED.finditer(text)]
        if asked:
            pause = _PAUSE.search(text)
            self._paused = self._paused or pause is not None and int(pause[1]) >= _BEAT_SECONDS
            self._asked, self._answers = ["processed" if "processed" in each else "waiting" for each in asked], 0
            return False
        if _PROMPT.match(text):  # the next question
            self._asked = []
        sizes = [int(size) for size in (_TIMED_SIZES if _TIMED.match(text) else _SIZES).findall(text)]
        read = False
        for pattern, readings in ((_PROCESSED, self._processed), (_ENQUEUED, self._waiting)):
            number = pattern.search(text)
            if number:
                readings.append(int(next(filter(None, number.groups())).replace(",", "")))
                read = True
        if sizes:
            self._waiting.append(sum(sizes))
            read = True
        alone = _ALONE.match(text) if self._asked and not read else None
        for number in re.findall(r"\d+", text)[: len(self._asked)] if alone else ():
            which = self._asked[self._answers % len(self._asked)]
            self._answers += 1
            (self._processed if which == "processed" else self._waiting).append(int(number))
            read = True
        return read

    def _compared(self) -> str:
        grown = len(self._waiting) > 1 and self._waiting[-1] >= _MANY and self._waiting[-1] > self._waiting[-2] * _GROWN
        if self._idle and not self._works and self._waiting and self._waiting[-1] >= _MANY:
            return "all processes of Sidekiq are idle while jobs wait"
        if len(self._processed) < 2:
            return "the queues grow" if grown and not self._processed else ""
        more = self._busy and len(self._waiting) > 1 and self._waiting[-1] > self._waiting[-2]  # so time has passed
        if self._processed[-1] == self._processed[-2] and (self._paused or more):
            return "no job was processed between two readings"
        return "the queues grow while jobs are processed" if grown and self._processed[-1] > self._processed[-2] else ""

    def _hung(self, text: str) -> str:
        started, now = _STARTED.search(text), date_of(text)
        if started and _QUEUE.search(text) and _JOB.search(text) and not _LOGGED.search(text):
            self._newest, self._at_work = max(self._newest, date_of(started[1]) or 0.0), self._at_work + 1
        if now is None or self._at_work < 2 or now - self._newest < _HOURS * 3600:
            return ""
        self._newest, self._at_work = 0.0, 0
        return f"jobs running for {_HOURS} hours and more"

    def _waited(self, text: str) -> str:
        """Of the oldest job of a queue, as the console was asked for it."""
        if _PROMPT.match(text):
            self._asked_seconds = _ASKED_SECONDS.search(text) is not None
            return ""
        seconds = _SECONDS.match(text) if self._asked_seconds else None
        return "the oldest job has been waiting for long" if seconds and int(seconds[1]) >= _WAITED_SECONDS else ""

    def _untaken(self, text: str) -> str:
        """Of a queue with jobs that none of the processes takes."""
        if _TAKES.search(text):
            self._taken.update(_TAKEN.findall(text))
            return ""
        if not self._taken:
            return ""
        waits = ((name, int(size), int(late.replace(",", "") or _LATE_SECONDS)) for name, size, late in _WAITS.findall(text))
        old = ((name, size >= _LEFT and late >= _LATE_SECONDS or late >= _DAY_SECONDS) for name, size, late in waits)
        lost = [name for name, waited in old if waited and name not in self._taken]
        return f"No Sidekiq process running for the {lost[0]} queue" if lost else ""
