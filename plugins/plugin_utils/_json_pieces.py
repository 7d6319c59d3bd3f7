# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces of a line of JSON that somebody broke or cut: of a job that Sidekiq told, of an error that the streaming server told.

A whole record is read where logs of hosts are read; a piece is only in what people paste. Private to this collection.
"""

from __future__ import annotations

import re

from ansible_collections.fediops.mastodon.plugins.plugin_utils._sidekiq_pages import Failure

_PIECE = re.compile(r'\s*,?\s*"\w{1,40}" ?: ?')
_STRING = r'"((?:[^"\\]|\\.){0,4000})'
_JOB = re.compile(r'"(?:wrapped|job_class|class)" ?: ?"([A-Z][\w:]{2,120})"')
_CLASS = re.compile(r'"error_class" ?: ?"([A-Z][\w:]{2,120})"')
_MESSAGE = re.compile(r'"error_message" ?: ?' + _STRING)
_STACK = re.compile(r'"stack" ?: ?' + _STRING)
_ESCAPED = re.compile(r"\\(.)")


class JsonPieces:
    """Feed ``told`` the lines of one log in their order."""

    def __init__(self) -> None:
        self._job = "unknown"

    def told(self, text: str) -> Failure | str | None:
        """The job that failed, or the first line of what an error of Node.js says; None for a line that is no piece or tells neither."""
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
