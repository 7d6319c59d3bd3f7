# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe posts, and how it reads it back (private, may change any time)."""

from __future__ import annotations

import html.parser
import struct
import zlib

from typing import Any

# Four bytes of UTF-8, then scripts of three and two, one of them from right to left.
UNICODE = "\U0001f418 \u6f22\u5b57 \u0939\u093f\u0928\u094d\u0926\u0940 \u041f\u0440\u043e\u0431\u0430 \u0639\u0631\u0628\u064a \u00e9"
PLAIN = "A test of this server by its administrators. It is deleted at once."
PICTURE_NAME = "fediops-probe.png"


class _Text(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "br":
            self.text.append("\n")


def text_of(content: str) -> str:
    """The text of a post's HTML."""
    parser = _Text()
    parser.feed(content)
    parser.close()
    return "".join(parser.text)


def picture() -> bytes:
    """A PNG of 64x64 pixels with a run of colours, so that converting it is work."""
    rows = b"".join(b"\0" + bytes(value for x in range(64) for value in (x * 4, y * 4, (x ^ y) * 4)) for y in range(64))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) & 0xFFFFFFFF)

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) \
        + chunk(b"IEND", b"")


def form(name: str, data: bytes, description: str) -> tuple[bytes, str]:
    """(body, content type) of an upload."""
    parts = [
        ('form-data; name="description"', "text/plain", description.encode()),
        ('form-data; name="file"; filename="%s"' % name, "image/png", data),
    ]
    edge = description  # unique, and no picture holds it
    body = b"".join(b"--%s\r\nContent-Disposition: %s\r\nContent-Type: %s\r\n\r\n%s\r\n"
                    % (edge.encode(), where.encode(), kind.encode(), content) for where, kind, content in parts)
    return body + b"--%s--\r\n" % edge.encode(), "multipart/form-data; boundary=" + edge


def difference(sent: str, got: str) -> str:
    """Where two texts part, in ASCII; empty when they are the same."""
    if sent == got:
        return ""
    at = next((number for number, (one, other) in enumerate(zip(sent, got)) if one != other), min(len(sent), len(got)))
    return "character %d was sent as %s and came back as %s" % (at + 1, ascii(sent[at:at + 4]), ascii(got[at:at + 4]))
