# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset ``logs``: what the journal and the log files of the services say since a point in time (docs/facts.md, ``logs``).

One journalctl call reads the newest entries of and about the units and the kernel; files are read from their end. Every source is
bounded in bytes and time; what was not read is said in ``sources[].truncated``, ``reason`` and ``oldest_epoch`` (journal: time of the
oldest line that was read). A source that fails never loses the others.
"""

from __future__ import annotations

import json
import time as clock

from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils import _journal
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostDenied
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import PARSERS, parse, strip_prefix
from ansible_collections.fediops.mastodon.plugins.module_utils._tally import Tally, text_of

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
    from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import ByteStream


JOURNAL_BYTES = 64 << 20
# The newest entries are asked for and read from the older end, so both limits must be out of reach of what was asked for: a cut would
# lose the newest. An entry has some 600 bytes; a slow machine reads 15000 a second.
JOURNAL_LINES = 64000
JOURNAL_LINES_A_SECOND = 15000
FILE_BYTES = 16 << 20
RESULT_BYTES = 110000
FILES: Tuple[Tuple[str, str, int], ...] = (  # origin, pattern, how many of the newest
    ("proxy", "/var/log/nginx/error.log", 1),
    ("proxy", "/var/log/nginx/access.log", 1),
    ("database", "/var/log/postgresql/*.log", 2),
    ("redis", "/var/log/redis/*.log", 2),
    ("pooler", "/var/log/pgbouncer/*.log", 1),
    ("pooler", "/var/log/postgresql/pgbouncer.log", 1),
)


def observe(host: Host, install: Mapping[str, Any], options: Mapping[str, Any]) -> Dict[str, Any]:
    """``logs`` of the contract.

    install: {"units": [{"name", "role"}…], "log_files": {origin: [path…]} instead of the usual places}.
    options: {"since_epoch": epoch, "signatures": {…}, "deadline": time.monotonic() value, "secrets": [value…]}.
    Private keys of the result: ``_oom_kills`` (for ``memory``), ``_reason`` (sources that could not be read at all, broken signatures).
    """
    since = float(options["since_epoch"])
    deadline = float(options["deadline"])
    tally = Tally(options.get("signatures") or {}, options.get("secrets") or ())
    sources: Dict[Tuple[str, str, str], Dict[str, Any]] = {}
    errors = [f"signature {key} is not a valid regular expression: {why}" for key, why in tally.matcher.broken.items()]
    # Files first: they are bounded by their size, the journal takes what time is left.
    for origin, path in _files(host, install):
        source = _source(sources, origin, path, "file")
        try:
            _read_file(host.tail(path, FILE_BYTES), tally, source, since, deadline)
        except Exception as problem:
            _failed(source, problem)
    try:
        _read_journal(host, install.get("units") or (), tally, sources, since, deadline)
    except HostDenied:
        raise  # without the journal nothing could be said of Mastodon itself
    except Exception as problem:
        _failed(_source(sources, "system", "journal", "journal"), problem)
    for source in sources.values():
        if source["truncated"] and not source["lines"]:
            errors.append(f"{source['name']}: {source.get('reason') or 'could not be read'}")
    result: Dict[str, Any] = {"since_epoch": since, "until_epoch": clock.time(), "sources": list(sources.values()), **tally.result()}
    for samples, limit, groups in ((2, 300, 20), (1, 240, 20), (1, 120, 10), (0, 60, 5)):
        if len(json.dumps(result)) <= RESULT_BYTES:
            break
        result.update(tally.result(samples, limit, groups))
    if errors:
        result["_reason"] = "; ".join(text[:300] for text in errors[:5])
    return result


def _source(sources: Dict[Tuple[str, str, str], Dict[str, Any]], origin: str, name: str, kind: str) -> Dict[str, Any]:
    key = (origin, name, kind)
    if key not in sources:
        sources[key] = {"origin": origin, "name": name, "kind": kind, "lines": 0, "bytes": 0, "truncated": False}
    return sources[key]


def _failed(source: Dict[str, Any], problem: Exception) -> None:
    source["truncated"] = True
    source["reason"] = (str(problem) or type(problem).__name__)[:200]


def _read_journal(
    host: Host,
    units: Any,
    tally: Tally,
    sources: Dict[Tuple[str, str, str], Dict[str, Any]],
    since: float,
    deadline: float,
) -> None:
    roles = {str(unit["name"]): str(unit["role"]) for unit in units if unit.get("name")}
    wanted = max(2000, min(JOURNAL_LINES, int((deadline - clock.monotonic()) * JOURNAL_LINES_A_SECOND)))
    stream = host.journal(roles, since, wanted, deadline, JOURNAL_BYTES)
    known: Dict[Tuple[str, bool, str], Tuple[str, Dict[str, Any]]] = {}
    total = 0
    oldest = 0.0
    add = tally.add
    try:
        for entry in _journal.parse(stream):
            total += 1
            if total == 1:
                oldest = entry.time
            key = (entry.unit, entry.about, entry.transport if entry.transport == "kernel" else "")
            found = known.get(key)
            if found is None:
                if key[2]:
                    origin, name = "kernel", "kernel"
                else:
                    origin, name = ("system" if entry.about else roles.get(entry.unit, "system")), entry.unit
                if origin not in PARSERS:
                    origin = "system"
                found = known[key] = (origin, _source(sources, origin, name, "journal"))
            origin, source = found
            source["lines"] += 1
            source["bytes"] += len(entry.message)
            add(origin, source["name"], entry.time, entry.message, entry.pid)
    finally:
        reason = str(getattr(stream, "reason", "") or "")
        complete = not getattr(stream, "truncated", False)
        if complete and total >= wanted - 1:
            complete, reason = False, f"only the newest {total} lines of the journal were read"
        if not complete:
            journal = [source for source in sources.values() if source["kind"] == "journal"]
            for source in journal or [_source(sources, "system", "journal", "journal")]:
                source.update(truncated=True, reason=reason[:200])
                if total:
                    source["oldest_epoch"] = oldest


def _files(host: Host, install: Mapping[str, Any]) -> List[Tuple[str, str]]:
    given: Optional[Mapping[str, Any]] = install.get("log_files")
    if given is not None:
        return [(origin, str(path)) for origin, paths in given.items() if origin in PARSERS for path in paths]
    found: List[Tuple[str, str]] = []
    for origin, pattern, newest in FILES:
        try:
            paths = host.glob(pattern)
            if pattern.endswith("postgresql/*.log"):
                paths = [path for path in paths if "pgbouncer" not in path]
            if len(paths) > newest:
                paths = sorted(paths, key=lambda path: float(getattr(host.stat(path), "st_mtime", 0.0)))[-newest:]
        except Exception:  # a directory that may not be listed has nothing to read
            paths = []
        found += [(origin, path) for path in paths]
    return found


def _read_file(stream: ByteStream, tally: Tally, source: Dict[str, Any], since: float, deadline: float) -> None:
    """Lines of the window; a line without a time belongs to the one before it."""
    origin, name = source["origin"], source["name"]
    application = origin in ("web", "sidekiq", "streaming")  # stored by docker, syslog or a redirection: the time is in front
    current = 0.0
    first = True
    for line in _split(stream):
        if first:
            first = False
            if getattr(stream, "truncated", False):
                continue  # the first line of a tail is half a line
        if origin == "proxy" and tally.access(line, since):
            source["lines"] += 1
            source["bytes"] += len(line)
            continue
        text = text_of(line)
        if application:
            stripped = strip_prefix(text)
            text, when = stripped.text, stripped.time
            if when is None:
                when = parse(origin, text).time
        else:
            when = parse(origin, text).time
        current = when if when is not None else current
        if current < since:
            continue
        source["lines"] += 1
        source["bytes"] += len(line)
        tally.add(origin, name, current, text.encode("utf-8", "ignore"))
        if clock.monotonic() > deadline:
            source["truncated"], source["reason"] = True, "the time was up"
            return
    if getattr(stream, "truncated", False):
        source["truncated"], source["reason"] = True, str(getattr(stream, "reason", ""))[:200]


def _split(chunks: Any, limit: int = 1 << 20) -> Iterator[bytes]:
    """Lines of chunks of bytes, without their ends; a line longer than ``limit`` comes in pieces."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        yield from lines
        if len(rest) > limit:
            yield rest
            rest = b""
    if rest:
        yield rest
