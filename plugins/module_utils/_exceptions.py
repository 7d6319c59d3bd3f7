# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the lines of one exception together again and groups exceptions by innermost class and first frame of the application.

Lines of several requests and jobs are interleaved: a block is found by request id, else by process and thread. Everything is bounded.
"""

from __future__ import annotations

import re

from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._line import Line
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import Redactor

OPEN_LIMIT = 256  # blocks being read
GROUP_LIMIT = 400  # groups remembered; the rarest half goes into "other" when there are more
BLOCK_SECONDS = 5.0  # lines of one block come within this
MESSAGE_LIMIT = 2048
_KERNEL_TROUBLE = re.compile(
    r"I/O error|-fs error|^XFS .*(?:corrupt|error)|BTRFS.* error|[Rr]emounting filesystem read-only|blocked for more than \d+ sec"
    r"|soft lockup|[Hh]ardware [Ee]rror|general protection fault|^BUG: |kernel BUG at|^Oops: |[Mm]edium [Ee]rror"
)
# What ends a build or a command, and says nothing of why.
_COMMAND_TROUBLE = re.compile(
    r"Build with Vite failed|Vite build command .* failed|Compilation failed:?\s*\Z|Failed with errors in (?!0 )|error Command failed with"
    r"|^FATAL ERROR: |(?:Aborted|Segmentation fault|Bus error) \(core dumped\)|\[BUG\] "
)
# PostgreSQL reads or writes a file, and the disk does not; nginx the same of its files. Nobody's words are behind it.
_DISK = r"(?:Input/output error|Eingabe-/Ausgabefehler|[Ee]rreur d.entrée/sortie|Structure needs cleaning)"
_DATABASE_DISK = re.compile(
    r"could not (?:read|write|fsync|flush|open|extend|stat|access|seek|rename|remove|truncate)\b.{0,300}: " + _DISK + r"\s*\Z"
)
_PROXY_DISK = re.compile(r"\w+\(\) (?:\"[^\"]*\" )?failed \(5: " + _DISK + r"\)")
_STUCK_WORKER = re.compile(r"(?:\[\d+\] )?! Terminating timed out worker")
# Of a connection, or of a name that a client gave: anybody can cause those. Also that the system starts or stops.
_OF_A_CLIENT = re.compile(
    r'["«\u201e\u201c「]|(?i:connect|connexion|verbindung|conex|соединени|подключени|接続|连接|연결|startup packet|frontend'
    r"|database system|datenbanksystem|système de bases? de|sistema de base|sistema di database|система баз"
    r"|データベースシステム|데이터베이스 시스템|数据库系统)"
)
_VARIES = re.compile(r'"[^"]*"|«[^»]*»|(?!EXT\d)(?<!\S)\S*\d\S*')


class _Block:
    __slots__ = ("frame", "ident", "message", "name", "origin", "quick", "time")

    def __init__(self, origin: str, ident: str, name: str, message: str, time: float, quick: bool) -> None:
        self.origin = origin
        self.ident = ident
        self.name = name
        self.message = message[:MESSAGE_LIMIT]
        self.time = time
        self.frame = ""
        self.quick = quick  # from the request line; the block itself may still come and knows more


class _Group:
    __slots__ = ("count", "first", "ids", "last", "message")

    def __init__(self, block: _Block) -> None:
        self.count = 0
        self.first = self.last = block.time
        self.message = block.message
        self.ids: List[str] = []


class Exceptions:
    """Feed ``add`` in order of time, then take ``result`` once."""

    def __init__(self) -> None:
        self._open: Dict[Tuple[str, ...], _Block] = {}
        self._latest: Dict[Tuple[str, str], _Block] = {}
        self._groups: Dict[Tuple[str, str, str], _Group] = {}
        self._other = 0

    def add(self, origin: str, source: str, line: Line, ident: str, time: float) -> None:
        """``source``: name and process, as ``mastodon-web.service/123``; ``ident``: request id or job id or ""."""
        kind = line.kind
        key = (origin, line.id) if origin != "sidekiq" and line.id else (origin, source, line.thread)
        process = (origin, source)
        if kind == "frame":
            block = self._open.get(key) if line.id or line.thread else self._latest.get(process)
            if block is not None and not block.frame and line.fields.get("frame") and time - block.time < BLOCK_SECONDS:
                block.frame = line.fields["frame"]
            return
        if kind == "cause":
            block = self._open.get(key) if line.id else self._latest.get(process)
            if block is not None:
                block.name, block.message = line.fields["class"], line.fields["message"][:MESSAGE_LIMIT]
            return
        if kind == "more" and line.severity in ("error", "fatal") and line.id:  # "E, [...] ERROR -- : [id]" opens a report
            opened = self._open.get(key)
            if opened is not None and not opened.quick:
                self._close(key)
            return
        if "class" not in line.fields or kind not in ("exception", "request"):
            return
        block = self._open.get(key)
        if block is not None:
            if line.id and origin != "sidekiq" and not block.quick and not block.frame and time - block.time < BLOCK_SECONDS:
                # Rails 7.1, 7.2: "Causes:" and then one line of the same shape for each, the innermost last
                block.name, block.message = line.fields["class"], line.fields["message"][:MESSAGE_LIMIT]
                return
            same = (block.name, block.message) == (line.fields["class"], line.fields["message"][:MESSAGE_LIMIT])
            if same and origin == "web" and not line.id and not block.frame and time - block.time < BLOCK_SECONDS:
                block.frame = line.fields.get("frame", "")  # Puma reports a death in one line, Ruby in the next
                return
            if block.quick and kind == "exception" and line.id and time - block.time < BLOCK_SECONDS:
                block.name, block.message, block.quick = line.fields["class"], line.fields["message"][:MESSAGE_LIMIT], False
                self._latest[process] = block
                return
            self._close(key)
        block = _Block(origin, ident, line.fields["class"], line.fields["message"], time, kind == "request")
        block.frame = line.fields.get("frame", "")
        if origin == "sidekiq" and line.fields.get("single") and line.id:  # Sidekiq 8: no backtrace follows
            self._count(block)
            return
        if len(self._open) >= OPEN_LIMIT:
            self._close(next(iter(self._open)))
        self._open[key] = block
        if len(self._latest) >= OPEN_LIMIT:
            del self._latest[next(iter(self._latest))]
        self._latest[process] = block

    def add_line(self, origin: str, text: str, time: float) -> None:
        """Trouble that is told in one line and has no class: lines that differ in names and numbers only are one group."""
        self._count(_Block(origin, "", _VARIES.sub("…", text)[:80], text, time, quick=False))

    def _close(self, key: Tuple[str, ...]) -> None:
        block = self._open.pop(key, None)
        if block is not None:
            self._count(block)

    def _count(self, block: _Block) -> None:
        key = (block.origin, block.name[:200], block.frame[:200])
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= GROUP_LIMIT:
                ranked = sorted(self._groups.items(), key=lambda item: (item[1].count, item[1].last))
                for rare, gone in ranked[: GROUP_LIMIT // 2]:
                    self._other += gone.count
                    del self._groups[rare]
            group = self._groups[key] = _Group(block)
        group.count += 1
        group.first = min(group.first, block.time)
        if block.time >= group.last:
            group.last, group.message = block.time, block.message
        if block.ident:
            group.ids = [*group.ids[-2:], block.ident]

    def result(self, redactor: Redactor, groups: int = 20, limit: int = 300) -> Tuple[List[Dict[str, Any]], int]:
        """``logs.exceptions`` of the contract (most frequent first) and how many exceptions are not in it."""
        for key in list(self._open):
            self._close(key)
        ranked = sorted(self._groups.items(), key=lambda item: (-item[1].count, -item[1].last))
        found = []
        for (origin, name, frame), group in ranked[:groups]:
            entry: Dict[str, Any] = {
                "class": redactor.clean(name, 120),
                "origin": origin,
                "count": group.count,
                "first_epoch": group.first,
                "last_epoch": group.last,
                "message": redactor.clean(group.message, limit),
                "request_ids": [ident[:64] for ident in group.ids],
            }
            if frame:
                entry["frame"] = frame[:160]  # nothing but a path of the application and a number
            found.append(entry)
        return found, self._other + sum(group.count for _key, group in ranked[groups:])


def trouble(origin: str, line: Line, text: str) -> bool:
    """Whether what a store or the kernel says in one line is as grave as an exception of the application. ``text``: of it what is heard."""
    if origin == "kernel":
        return _KERNEL_TROUBLE.search(line.text) is not None
    if origin == "command":
        return line.kind == "text" and _COMMAND_TROUBLE.search(line.text) is not None
    if origin == "web":
        return line.kind == "text" and _STUCK_WORKER.match(text) is not None
    if origin == "proxy":
        alone = line.severity == "fatal" and not line.id or line.text.startswith("nginx: [emerg] ")  # of no visitor's connection
        return alone or _PROXY_DISK.match(text) is not None
    if origin == "streaming":
        return line.severity == "fatal" and line.kind == "text"
    if origin == "database":
        return _DATABASE_DISK.search(text) is not None or line.severity == "fatal" and _OF_A_CLIENT.search(line.text) is None
    return origin == "pooler" and line.severity in ("error", "fatal")


def job_of(line: Line, threads: Dict[Tuple[str, str], Tuple[str, float]], source: str, time: float) -> Optional[str]:
    """Sidekiq 5 to 7 name the job once and then report on the same thread: the job id an error line belongs to, "" for none.

    ``threads`` is kept by the caller and changed here.
    """
    key = (source, line.thread)
    if line.id and line.thread:
        if len(threads) > 2048:
            del threads[next(iter(threads))]
        threads[key] = (line.id, time)
        return line.id
    known = threads.get(key)
    return known[0] if known and time - known[1] < 1.0 and line.kind in ("exception", "cause", "more", "frame") else ""
