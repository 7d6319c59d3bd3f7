# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of a log file that somebody gave us, packed or plain, and files of many cases. Bounded. Private to this collection."""

from __future__ import annotations

import itertools
import pathlib
import re
import typing as t

import yaml

from ansible_collections.fediops.mastodon.plugins.module_utils._packed import kind_of, missing, unpack
from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake
from ansible_collections.fediops.mastodon.plugins.plugin_utils._own_files import NOT_READABLE, why
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

MAX_BYTES = 1 << 30  # of a log, unpacked: some minutes of reading
PIECE_BYTES = 1 << 16
MAX_CASES_BYTES = 50_000_000
LINE_BYTES = 32_768  # of a line that are kept; the rest of it is passed over
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}\Z")


class LogError(Mistake):
    """One sentence: which file, what is wrong with it."""


class Lines:
    """Iterate over the lines; ``truncated`` then says why not all of it could be read, or is empty."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.truncated = ""

    def __iter__(self) -> t.Iterator[bytes]:
        total = cut = 0
        rest = b""
        try:
            for piece in _pieces(self._path):
                total += len(piece)
                *whole, rest = (rest + piece).split(b"\n")
                yield from (line[:LINE_BYTES] for line in whole)
                cut += sum(len(line) > LINE_BYTES for line in whole)
                rest = rest[: LINE_BYTES + 1]
                if total >= MAX_BYTES:
                    self.truncated = f"only the first {MAX_BYTES >> 20} MiB were read"
                    break
        except ValueError as problem:
            self.truncated = missing(problem, total)
        except OSError as error:
            raise LogError(f"log {self._path} cannot be read: {error.strerror or error}") from None
        if rest:
            yield rest[:LINE_BYTES]
            cut += len(rest) > LINE_BYTES
        if cut:
            told = f"of {cut} line{'s'[: cut > 1]} only the first {LINE_BYTES >> 10} KiB were read"
            self.truncated = "; ".join(filter(None, (self.truncated, told)))


def _pieces(path: pathlib.Path) -> t.Iterator[bytes]:
    if not path.is_file():
        raise LogError(f"log {path} cannot be read: {'is not a file' if path.exists() else 'there is no such file'}")
    with path.open("rb") as stream:
        head = stream.read(PIECE_BYTES)
        read = itertools.chain([head], iter(lambda: stream.read(PIECE_BYTES), b""))
        yield from unpack(read, PIECE_BYTES) if kind_of(head) else read


class Case(t.NamedTuple):
    """One log of a file of many; `where` describes it, `version` and `deployment` may be empty."""

    id: str
    lines: str
    where: str
    version: str
    deployment: str


def cases(path: pathlib.Path) -> list[Case]:
    """The cases of a YAML file: a list ``cases`` of mappings with id and lines, and if known where, version and deployment."""
    try:
        if path.exists() and not path.is_file():
            raise LogError(f"cases {path} cannot be read: is not a file")
        if path.stat().st_size > MAX_CASES_BYTES:
            raise LogError(f"cases {path} are larger than {MAX_CASES_BYTES} bytes")
        data = yaml.load(path.read_bytes(), Loader=_LOADER)  # noqa: S506  a safe loader
    except OSError as error:
        raise LogError(f"cases {path} cannot be read: {error.strerror}") from None
    except NOT_READABLE as error:
        raise LogError(f"cases {path} are not valid YAML: {why(error)}") from None
    entries = data.get("cases") if isinstance(data, dict) else data
    if not isinstance(entries, list) or not entries:
        raise LogError(f"cases {path} hold no list `cases` of mappings with id and lines")
    found: dict[str, Case] = {}
    for number, entry in enumerate(entries, 1):
        case = _case(entry, f"cases {path}, entry {number}")
        if case.id in found:
            raise LogError(f"cases {path}, entry {number}: the id {case.id} is given twice")
        found[case.id] = case
    return list(found.values())


def _word(value: t.Any) -> str:
    """A value of one word or line; of what aliases repeat and nest there may be more than memory holds."""
    return str(value) if isinstance(value, (str, int, float)) else ""


def _case(entry: t.Any, place: str) -> Case:
    if not isinstance(entry, dict):
        raise LogError(f"{place}: is not a mapping with id and lines")
    identifier, lines = _word(entry.get("id")), entry.get("lines")
    if not _ID.match(identifier):
        raise LogError(f"{place}: id {clean_line(repr(identifier), 80)} must be letters, digits, dots, underscores and hyphens")
    if not isinstance(lines, str):
        raise LogError(f"{place} ({identifier}): lines is {'missing' if lines is None else 'not text'}")
    where, version, deployment = (_word(entry.get(key)) for key in ("where", "version", "deployment"))
    return Case(identifier, lines, where, version, deployment)
