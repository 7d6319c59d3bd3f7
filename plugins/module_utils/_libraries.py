# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service an error is about when its message does not say so: the first backtrace lines name the gem that spoke to it.

"Temporary failure in name resolution" may be the database, Redis, the mail relay or a server elsewhere. The error is handed on once more
with the service behind it, as ``SocketError: getaddrinfo: … [redis]``.
"""

from __future__ import annotations

import re

from typing import Dict, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._line import Line

NEAR = 8  # backtrace lines: who called the caller says nothing
_OPEN_LIMIT = 1024

_LIBRARY = re.compile(
    r"(?:\bgems/|^\s*(?:from )?)(?:(?P<redis>redis|redis-client|hiredis\w*)|(?P<smtp>net-smtp|mail)"
    r"|(?P<search>elasticsearch\S*|elastic-\S+|opensearch\S*|chewy)|(?P<storage>aws-sdk-\w+|fog-\w+|azure-\S+))(?:-| \()\d"
    r"|(?:/|^\s*(?:from )?)net/(?P<net>smtp)\.rb:"
)


_MAILER = "ActionMailer::"
_FROM = re.compile(r"\A(?:\d{1,4}: )?from ")
# What was typed, and what Puma, rake and migrations print before anything fails.
_HARMLESS = re.compile(r"[$=*] |(?:=>|==|--|\*\*|\[\d+\] \*) |Puma |Exiting$|(?:bin/)?(?:rails|rake) aborted!$")


class Libraries:
    """Feed the lines of each source in their order."""

    def __init__(self) -> None:
        self._told: Dict[Tuple[str, str], Tuple[str, int]] = {}
        self._last: Dict[str, Tuple[str, str]] = {}  # Sidekiq writes its prefix before the first backtrace line only
        self._spoken: Dict[str, None] = {}
        self._mailing: Dict[Tuple[str, str], bool] = {}  # threads that send mail

    def job(self, source: str, line: Line) -> None:
        """A line of Sidekiq that names the job its thread works on."""
        key = (source, line.thread)
        self._mailing.pop(key, None)
        if line.fields["class"].startswith(_MAILER):
            if len(self._mailing) >= _OPEN_LIMIT:
                del self._mailing[next(iter(self._mailing))]
            self._mailing[key] = True

    def spoke(self, source: str, text: str) -> None:
        """A line of the source that is no backtrace line, whether it may be heard or not."""
        if source in self._spoken or _HARMLESS.match(text):
            return
        if len(self._spoken) >= _OPEN_LIMIT:
            del self._spoken[next(iter(self._spoken))]
        self._spoken[source] = None

    def told(self, source: str, line: Line, text: str) -> str:
        """A line that is no backtrace line; ``text``: what may be heard of it. Returned with the service when the job tells it, else ""."""
        key = (source, line.id or line.thread)
        if str(line.fields.get("job", "")).startswith(_MAILER) or line.thread and (source, line.thread) in self._mailing:
            self._told.pop(key, None)
            return f"{text} [smtp]"
        if _HARMLESS.match(text):
            return ""
        if len(self._told) >= _OPEN_LIMIT:
            del self._told[next(iter(self._told))]
        self._told[key] = (text, 0)
        if len(self._last) >= _OPEN_LIMIT:
            del self._last[next(iter(self._last))]
        self._last[source] = key
        return ""

    def frame(self, source: str, line: Line) -> str:
        """What was told before with the service behind it, at the first backtrace line that shows it; else empty.

        Of a source that has said nothing yet the lines themselves: nobody's message comes before them, and often they tell what failed.
        """
        key = (source, line.id or line.thread)
        if not key[1]:
            key = self._last.get(source, key)
        known = self._told.get(key)
        if known is None:
            return "" if source in self._spoken else f"frame: {_FROM.sub('', line.text.strip())}"
        text, seen = known
        found = _LIBRARY.search(line.text)
        if found is None and seen < NEAR:
            self._told[key] = (text, seen + 1)
            return ""
        del self._told[key]
        if found is None or found.lastgroup is None:
            return ""
        return f"{text} [{'smtp' if found.lastgroup == 'net' else found.lastgroup}]"
