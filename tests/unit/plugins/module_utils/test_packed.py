# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What logrotate packs is unpacked in small pieces, as far as it is whole."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os

from typing import Callable

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils import _packed
from ansible_collections.fediops.mastodon.plugins.module_utils._packed import kind_of, unpack

Pack = Callable[[bytes], bytes]
PACKS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}
MOST = 1 << 16


def in_pieces(data: bytes, size: int = 4096) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def read(data: bytes) -> tuple[bytes, str]:
    """What comes out, and why not more."""
    found = []
    try:
        for part in unpack(in_pieces(data), MOST):
            assert len(part) <= MOST
            found.append(part)
    except ValueError as problem:
        return b"".join(found), str(problem)
    return b"".join(found), ""


@pytest.mark.parametrize("kind", PACKS)
def test_several_members_with_zeros_between_them(kind: str) -> None:
    pack: Pack = PACKS[kind]
    members = [b"a" * 1_000_000, os.urandom(300_000), b"", b"end"]
    assert kind_of(pack(b"x")) == kind
    assert read((b"\0" * 512).join(map(pack, members)) + b"\0" * 5000) == (b"".join(members), "")


@pytest.mark.parametrize("kind", PACKS)
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda packed: packed[:-9], "is cut off"),
        (lambda packed: packed[:11], "is cut off"),
        (lambda packed: packed[:1_000_000] + bytes(4096) + packed[1_004_096:], "is damaged"),
    ],
)  # fmt: skip
def test_what_is_cut_off_or_damaged_is_read_so_far(kind: str, harm: Pack, told: str) -> None:
    whole = os.urandom(2_000_000)
    data, reason = read(harm(PACKS[kind](whole)))
    assert reason == told and whole.startswith(data[:890_000])  # bzip2 and xz sum up a block only at its end


def test_behind_the_last_member_is_something_else() -> None:
    assert read(gzip.compress(b"x") + b"not gzip") == (b"x", "is damaged")


def test_kinds_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kind_of(b"2024-01-02") == kind_of(b"") == ""
    assert read(b"\x28\xb5\x2f\xfd....") == (b"", "is packed by zstd, which cannot be read here")
    assert read(lzma.compress(b"x" * 99, preset=9)) == (b"", "needs more memory than is allowed")

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(_packed.importlib, "import_module", missing)
    assert read(lzma.compress(b"x")) == (b"", "is packed by xz, which this Python cannot unpack")
    assert read(gzip.compress(b"x")) == (b"x", "")
