# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Request ids: which are accepted, and where in a line one stands as a word of its own.

Rails takes the header X-Request-Id of a request, drops all but ``[A-Za-z0-9_@-]`` and cuts it at 255 characters; without the header it
makes a UUID (ActionDispatch::RequestId; @ since 6.1). The answer has the same header, and every line of the request begins with it.
"""

from __future__ import annotations

import re

LONGEST = 255
TELLING = 8  # a shorter one (a client may send "1") is any word: only tags and fields that hold nothing else count then

_ID = re.compile(r"[A-Za-z0-9_@-]{1,%d}\Z" % LONGEST)


def checked(text: str) -> str:
    """The id, or "" for an answer without the header. ValueError with one sentence for anything else."""
    if text and not _ID.match(text):
        raise ValueError(
            "request_id is what the header X-Request-Id of the answer says: letters, digits, _, - and @, at most %d of them, or nothing"
            " when there was no such header; not %s" % (LONGEST, ascii(text[:60]))
        )
    return text


def needles(request_id: str) -> list[bytes]:
    """What lines that may be of the request hold: the id, or when it is as short as any word, the id as tag or value."""
    if len(request_id) >= TELLING:
        return [request_id.encode()]
    return [("[%s]" % request_id).encode(), ('"%s"' % request_id).encode()]


def word(request_id: str) -> re.Pattern[str]:
    """Finds the id where it is not a part of a longer one."""
    return re.compile(r"(?<![\w@-])" + re.escape(request_id) + r"(?![\w@-])")
