# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log files as logrotate packs them (compresscmd): gzip, bzip2 and xz, told by their first bytes and unpacked piece by piece."""

from __future__ import annotations

import importlib
import re
import zlib

from typing import Any, Iterable, Iterator

HEAD_BYTES = 10
# What begins with BZh alone may be a line of a log.
_HEAD = re.compile(rb"(?P<gzip>\x1f\x8b)|(?P<bzip2>BZh[1-9](?:1AY&SY|\x17rE8P\x90))|(?P<xz>\xfd7zXZ\0)|(?P<zstd>\x28\xb5\x2f\xfd)")
XZ_MEMORY_BYTES = 48 << 20  # xz -7 needs 17 MiB to unpack, -8 33 and -9 65


def kind_of(head: bytes) -> str:
    """How a file that begins so is packed, "" when it is not."""
    found = _HEAD.match(head)
    return str(found.lastgroup) if found else ""


def unpack(packed: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    """Pieces of up to that size, of one or several members. ValueError behind the last good piece: "is damaged", "is cut off" …"""
    kind = ""
    unpacker: _Unpacker | None = None
    for data in packed:
        while data or unpacker is not None and unpacker.has_more:
            if unpacker is None or unpacker.ended:
                data = data.lstrip(b"\0")  # noqa: PLW2901  padding between members
                if not data:
                    break
                kind = kind or kind_of(data)
                unpacker = _Unpacker(kind)
            yield unpacker.unpacked(data, most_bytes)
            data = unpacker.behind  # noqa: PLW2901
    if unpacker is None or not unpacker.ended:
        raise ValueError("is cut off")


def missing(problem: ValueError, unpacked_bytes: int) -> str:
    """Why the end of a packed file is missing, behind what of it was unpacked."""
    return "the compressed file %s%s" % (problem, " behind %d unpacked bytes" % unpacked_bytes if unpacked_bytes else "")


class _Unpacker:
    """One member. bz2 and lzma are not in every Python: who built it may have lacked their libraries."""

    def __init__(self, kind: str) -> None:
        self.ended = self.has_more = False
        self.behind = self._left = b""
        self._errors: tuple[type[Exception], ...] = (zlib.error, OSError)
        try:
            if kind == "gzip":
                self._inner: Any = zlib.decompressobj(31)
            elif kind == "bzip2":
                self._inner = importlib.import_module("bz2").BZ2Decompressor()
            elif kind == "xz":
                lzma = importlib.import_module("lzma")
                self._inner = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY_BYTES)
                self._errors = (lzma.LZMAError,)
            else:
                raise ValueError("is packed by %s, which cannot be read here" % (kind or "something unknown"))
        except ImportError:
            raise ValueError("is packed by %s, which this Python cannot unpack" % kind) from None

    def unpacked(self, data: bytes, most_bytes: int) -> bytes:
        try:
            part: bytes = self._inner.decompress(self._left + data, most_bytes)
        except self._errors as problem:
            raise ValueError("needs more memory than is allowed" if "emory" in str(problem) else "is damaged") from None
        self._left = getattr(self._inner, "unconsumed_tail", b"")  # zlib hands back what it did not take, the others keep it
        self.ended = self._inner.eof
        self.has_more = not self.ended and (bool(self._left) or not getattr(self._inner, "needs_input", True))
        self.behind = self._inner.unused_data
        return part
