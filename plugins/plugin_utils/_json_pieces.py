# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces of a line of JSON that somebody broke or cut: of a job that Sidekiq told, of an error that the streaming server told.

A whole record is read where logs of hosts are read; a piece is only in what people paste. Private to this collection.
"""

from __future__ import annotations

import re

from ansible_collections.fediops.mastodon.plugins.plugin_utils._sidekiq_pages import Failure

_PIECE = re.compile(r'[ \t]{0,40},?[ \t]{0,4}"\w{1,40}" ?: ?')
_STRING = r'"((?:[^"\\]|\\.){0,4000})'
_JOB = re.compile(r'"(?:wrapped|job_class|class)" ?: ?"([A-Z][\w:]{2,120})"')
_CLASS = re.compile(r'"error_class" ?: ?"([A-Z][\w:]{2,120})"')
_MESSAGE = re.compile(r'"error_message" ?: ?' + _STRING)
_STACK = re.compile(r'"stack" ?: ?' + _STRING)
# What the streaming server prints of an error of PostgreSQL or Redis ends with these.
_STATE = re.compile(r'"code" ?: ?"(\d[\dA-Z]{4})"')
_STATES = {
    "28P01": 'password authentication failed for user "…"',
    "42703": 'column "…" does not exist',
    "42P01": 'relation "…" does not exist',
    "53300": "sorry, too many clients already",
    "57P03": "the database system is starting up",
}
_REDIS_LOGIN = re.compile(r'"command" ?: ?\{"name" ?: ?"auth"')
_KEPT_BY_DOCKER = re.compile(r'\\n","stream":"std(?:out|err)","time":"[^"]{1,40}"\}\s*\Z')
_ESCAPED = re.compile(r"\\(.)")


class JsonPieces:
    """Feed ``told`` the lines of one log in their order. Behind another line a piece may be what a stranger wrote: only those are believed
    with which the log begins. ``whole``: origin of the log."""

    def __init__(self, whole: str) -> None:
        self._streaming = whole == "streaming"
        self._job = "unknown"
        self._first = True

    def told(self, text: str) -> Failure | str | None:
        """The job that failed, or the first line of what an error of Node.js says; None for a line that is no piece or tells neither."""
        found = self._read(text) if self._first and text[:40].lstrip()[:1] != "{" else None
        self._first = self._first and (found is not None or _PIECE.match(text) is not None)
        return found

    def _read(self, text: str) -> Failure | str | None:
        if _KEPT_BY_DOCKER.search(text):
            return _plain(_KEPT_BY_DOCKER.sub("", text))
        state = _STATE.search(text) if self._streaming else None
        if state and state[1] in _STATES:
            return f"Error: {_STATES[state[1]]}"
        if self._streaming and _REDIS_LOGIN.search(text):
            return "Redis Client Error! ReplyError: ERR invalid password"
        if _PIECE.match(text) is None:
            return None
        job = _JOB.search(text)
        self._job = job[1] if job else self._job
        name, message, stack = _CLASS.search(text), _MESSAGE.search(text), _STACK.search(text)
        if name:
            return Failure(self._job, name[1], _plain(message[1]) if message else "")
        return _plain(stack[1]) if stack else None


def _plain(string: str) -> str:
    return _ESCAPED.sub(r"\1", string.partition("\\n")[0])
