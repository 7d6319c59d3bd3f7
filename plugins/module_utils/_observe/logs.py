# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset ``logs``: what the journal and the log files of the services say since a point in time (docs/facts.md, ``logs``).

One journalctl call reads the newest entries of and about the units and the kernel; of files only the lines of that time are read, found by
bisection. Every source is bounded in bytes and time; what was not read is said in ``sources[].truncated``, ``reason`` and
``oldest_epoch`` (journal: time of the oldest line that was read). A source that fails never loses the others. Lines older than the last
cure of an issue are not counted for it.
"""

from __future__ import annotations

import json
import re
import time as clock

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Set, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils import _journal
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostDenied
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import PARSERS
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import container_logs, proxy, remediation
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.commands import command_units
from ansible_collections.fediops.mastodon.plugins.module_utils._stored import window_of
from ansible_collections.fediops.mastodon.plugins.module_utils._stored_lines import Times, split
from ansible_collections.fediops.mastodon.plugins.module_utils._tally import Tally

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host


JOURNAL_BYTES = 64 << 20
# The newest entries are asked for and read from the older end, so both limits must be out of reach of what was asked for: a cut would
# lose the newest. An entry has some 600 bytes; a slow machine reads 15000 a second.
JOURNAL_LINES = 64000
JOURNAL_LINES_A_SECOND = 15000
# Of each file, of those of the window the newest; an access log is read faster. Fewer when a slow machine could not read them in time.
FILE_BYTES = 16 << 20
FILE_BYTES_A_SECOND = 2 << 20
ACCESS_BYTES = 64 << 20
ACCESS_BYTES_A_SECOND = 16 << 20
LEAST_BYTES = 1 << 18  # of each, however little time is left
RESULT_BYTES = 110000
FILES: Tuple[Tuple[str, str, int], ...] = (  # origin, pattern, how many of the newest
    ("database", "/var/log/postgresql/*.log", 2),
    ("database", "/var/lib/pgsql/data/log/*.log", 2),
    ("database", "/var/lib/pgsql/*/data/log/*.log", 2),
    ("redis", "/var/log/redis/*.log", 2),
    ("pooler", "/var/log/pgbouncer/*.log", 1),
    ("pooler", "/var/log/postgresql/pgbouncer.log", 1),
)
PROXY_FILES = {  # first word of the unit's name: patterns
    "nginx": (proxy.ERROR_LOG,),
    "apache2": ("/var/log/apache2/*error*.log",),
    "httpd": ("/var/log/httpd/*error*log",),
    "caddy": ("/var/log/caddy/*.log",),
}
PROXY_NEWEST = 8  # a file for each virtual host
FILES_LIMIT = 40
ROTATED_NEWEST = 3
ROTATION = re.compile(r"(?:\.\d{1,3}|-\d{8}(?:-?\d{1,6})?)(?:\.(?:gz|bz2|xz|zst))?\Z")
_APP_SOCKET = re.compile(r"/\S*(?:puma|mastodon)")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]")


def observe(host: Host, install: Mapping[str, Any], options: Mapping[str, Any]) -> Dict[str, Any]:
    """``logs`` of the contract.

    install: {"units": [{"name", "role", "_standard_output"}…], "domain", "root", "_environment"; "log_files": {origin: [path…]} instead of
    the usual places}. ``read_origins`` of the result: origins of which at least one source was read, be it without a line of the window.
    options: {"since_epoch": epoch, "signatures": {…}, "deadline": time.monotonic() value, "secrets": [value…],
    "cured": {issue: epoch} beside what the journals of this host say}.
    Private keys of the result: ``_oom_kills`` (for ``memory``), ``_reason`` (sources that could not be read at all, broken signatures),
    ``_partly`` (sources of which only a part was read).
    """
    since = float(options["since_epoch"])
    deadline = float(options["deadline"])
    tally = Tally(options.get("signatures") or {}, options.get("secrets") or (), {**remediation.cured(host), **options.get("cured", {})})
    sources: Dict[Tuple[str, str, str], Dict[str, Any]] = {}
    errors: List[str] = []
    units = [*(install.get("units") or ()), *({"name": name, "role": "command"} for name in command_units(host, install))]
    nginx = nginx_of(host, install)
    tally.foreign = foreign_of(install, nginx)
    access = set(nginx["access"]) if nginx else set()
    given = install.get("log_files") is not None
    if given:
        access = {path for _origin, path in files_of(host, install, nginx)}
    read: Set[str] = set()
    counted = False
    # Files first, in half of the time: the journal takes what is left.
    until = clock.monotonic() + (deadline - clock.monotonic()) / 2
    for origin, path in _with_rotated(host, files_of(host, install, nginx), since):
        source = _source(sources, origin, path, "file")
        try:
            ours = _base(path) in access
            opened, lines, requests = _read_file(host, path, tally, source, since, until, ours)
            counted = counted or opened and ours and (requests > 0 or not lines)  # a log in another format says nothing
            if opened and (origin != "proxy" or not ours or given):
                read.add(origin)
        except Exception as problem:
            _failed(source, problem)
    composed = "compose" in install

    def source_of(origin: str, name: str, kind: str) -> Dict[str, Any]:
        return _source(sources, origin, name, kind)

    if composed:
        # Half of the time for them: the kernel's lines, which tell of what ran out of memory, are in the journal.
        read |= container_logs.read(host, install, tally, source_of, since, clock.monotonic() + (deadline - clock.monotonic()) / 2)
    try:
        if composed and not host.is_dir("/run/systemd/system"):
            if container_logs.kernel(host, tally, source_of, since):
                read |= {"system", "kernel"}
        elif _read_journal(host, units, tally, sources, since, deadline):
            read |= {"system", "kernel"} | {str(unit["role"]) for unit in units if "_container" not in unit and _in_journal(unit)}
    except HostDenied:
        raise  # without the journal nothing could be said of Mastodon itself
    except Exception as problem:
        _failed(_source(sources, "system", "journal", "journal"), problem)
    for source in sources.values():
        if source["truncated"] and not source["lines"]:
            errors.append(f"{source['name']}: {source.get('reason') or 'could not be read'}")
    errors += [f"signature {key} is not a valid regular expression: {why}" for key, why in tally.matcher.broken.items()]
    result: Dict[str, Any] = {"since_epoch": since, "until_epoch": clock.time(), "sources": list(sources.values()),
                              "read_origins": [origin for origin in PARSERS if origin in read], **tally.result()}  # fmt: skip
    for samples, limit, groups in ((2, 300, 20), (1, 240, 20), (1, 120, 10), (0, 60, 5)):
        if len(json.dumps(result)) <= RESULT_BYTES:
            break
        result.update(tally.result(samples, limit, groups))
    if not counted:  # no log of which it is sure that only Mastodon's requests are in it
        del result["proxy_requests"]
    if errors:
        result["_reason"] = "; ".join(text[:300] for text in errors[:5])
    partly = [f"{source['name']}: {source.get('reason')}" for source in sources.values() if source["truncated"] and source["lines"]]
    if partly:
        result["_partly"] = "; ".join(text[:300] for text in partly[:5])
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
) -> bool:
    """Whether the journal could be read, be it empty."""
    roles = {str(unit["name"]): str(unit["role"]) for unit in units if unit.get("name") and "_container" not in unit}
    wanted = max(2000, min(JOURNAL_LINES, int((deadline - clock.monotonic()) * JOURNAL_LINES_A_SECOND)))
    stream = host.journal(roles, since, wanted, deadline, JOURNAL_BYTES)
    known: Dict[Tuple[str, bool, str], Tuple[str, Dict[str, Any]]] = {}
    total = 0
    oldest = 0.0
    add = tally.add
    try:
        for entry in _journal.parse(stream):
            if entry.time < since:  # what an older journalctl gives for --lines
                continue
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
    return complete or total > 0


def nginx_of(host: Host, install: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """``proxy.logs_of``; None without nginx, or when its configuration cannot be read."""
    if not any(_proxy_kind(unit) == "nginx" for unit in install.get("units") or ()):
        return None
    try:
        return proxy.logs_of(host, install)
    except Exception:  # a configuration nobody may read tells nothing
        return None


def _proxy_kind(unit: Mapping[str, Any]) -> str:
    return str(unit.get("name", "")).split(".", 1)[0].split("@", 1)[0] if unit.get("role") == "proxy" else ""


def foreign_of(install: Mapping[str, Any], nginx: Optional[Mapping[str, Any]]) -> Optional[Callable[[Mapping[str, Any]], bool]]:
    """Says of the fields of an error line whether it is about another virtual host; None when no name of ours is known."""
    names = set(nginx["names"]) if nginx else proxy.domains_of(install)
    if not names:
        return None
    if nginx:
        addresses = set(nginx["upstreams"])
    else:
        ports = {"3000", "4000"} | {str((unit.get("_env") or {}).get("PORT") or "") for unit in install.get("units") or ()} - {""}
        addresses = {f"{host}:{port}" for host in LOOPBACK for port in ports}

    def foreign(fields: Mapping[str, Any]) -> bool:
        server, upstreams = fields.get("server"), fields.get("upstream")
        if server is not None and server.lower() in names:
            return False
        if upstreams:
            return not all(one in addresses or (nginx is None and _APP_SOCKET.match(one)) for one in upstreams)
        return server is not None

    return foreign


def _in_journal(unit: Mapping[str, Any]) -> bool:
    """Whether what the unit says is in the journal: not when it is sent to a file, and not what nginx and Apache write into theirs."""
    return not _redirected(unit) and _proxy_kind(unit) not in ("nginx", "apache2", "httpd")


def _redirected(unit: Mapping[str, Any]) -> List[str]:
    """Files that StandardOutput= and StandardError= of the unit name; [""] when the output goes nowhere."""
    found = []
    for key in ("_standard_output", "_standard_error"):
        kind, _colon, path = str(unit.get(key) or "").partition(":")
        if kind in ("append", "file", "truncate") and path.startswith("/"):
            found.append(path)
        elif kind == "null" and key == "_standard_output":
            found.append("")
    return list(dict.fromkeys(found))


def files_of(host: Host, install: Mapping[str, Any], nginx: Optional[Mapping[str, Any]]) -> List[Tuple[str, str]]:
    """(origin, path) of the log files of this host; ``nginx``: of ``nginx_of``."""
    given: Optional[Mapping[str, Any]] = install.get("log_files")
    if given is not None:
        return [(origin, str(path)) for origin, paths in given.items() if origin in PARSERS for path in paths]
    units = install.get("units") or ()
    found = [(str(unit["role"]), path) for unit in units for path in _redirected(unit) if path and unit["role"] in PARSERS]
    if nginx:
        found += [("proxy", path) for path in [*nginx["error"], *nginx["access"]] if host.exists(path)]
    kinds = [kind for kind in dict.fromkeys(map(_proxy_kind, units)) if kind] or ["nginx"]
    patterns = [("proxy", pattern, PROXY_NEWEST) for kind in kinds for pattern in PROXY_FILES.get(kind, ())]
    # Of a server in a container its log is the container's; files of this name were left by another one.
    elsewhere = {str(unit["role"]) for unit in units if "_container" in unit}
    for origin, pattern, newest in [each for each in (*patterns, *FILES) if each[0] not in elsewhere]:
        try:
            paths = host.glob(pattern)
            if pattern.endswith("postgresql/*.log"):
                paths = [path for path in paths if "pgbouncer" not in path]
            if len(paths) > newest:
                paths = sorted(paths, key=lambda path: float(getattr(host.stat(path), "st_mtime", 0.0)))[-newest:]
        except Exception:  # a directory that may not be listed has nothing to read
            paths = []
        found += [(origin, path) for path in paths]
    return list(dict.fromkeys(found))[:FILES_LIMIT]


def _base(path: str) -> str:
    return ROTATION.sub("", path)


def _with_rotated(host: Host, files: List[Tuple[str, str]], since: float) -> List[Tuple[str, str]]:
    """Before each file those that were rotated away last (by number or date, also packed) and were written to since then."""
    found = []
    for origin, path in files:
        try:
            names = [*host.glob(path + ".[0-9]*"), *host.glob(path + "-[0-9]*")]
        except Exception:
            names = []
        older = []
        for name in names:
            status = host.stat(name) if _base(name) == path and (origin, name) not in files else None
            if status is not None and status.st_mtime >= since:
                older.append((status.st_mtime, name))
        found += [(origin, name) for _written, name in sorted(older)[-ROTATED_NEWEST:]]
        found.append((origin, path))
    return found


def _read_file(
    host: Host, path: str, tally: Tally, source: Dict[str, Any], since: float, until: float, ours: bool
) -> Tuple[bool, int, int]:  # fmt: skip
    """Lines of the window; a line without a time belongs to the one before it. Requests of an access log count when it is ``ours``.

    Returns whether the file could be read, how many lines were looked at and how many of them are lines of an access log.
    """
    origin, name = source["origin"], source["name"]
    most, pace = (ACCESS_BYTES, ACCESS_BYTES_A_SECOND) if ours else (FILE_BYTES, FILE_BYTES_A_SECOND)
    with host.stored(path, FILE_BYTES, until) as file:
        times = Times(origin, file, clock.time())
        begin = window_of(file, times.newest, since)
        most = max(LEAST_BYTES, min(most, int((until - clock.monotonic()) * pace)))
        window = file.size - begin + (0 if begin else file.passed)
        begin = max(begin, file.size - most)
        if file.size - begin < window:
            source["truncated"], source["reason"] = True, f"only the last {file.size - begin} of {window} bytes were read"
        current = 0.0
        lines = requests = 0
        for line in split(file.chunks(begin)):
            lines += 1
            if lines == 1 and (begin or file.passed) or not line.strip():
                continue  # half a line, or none
            if source["bytes"] > LEAST_BYTES and clock.monotonic() > until:
                source["truncated"], source["reason"] = True, "the time was up"
                break
            if origin == "proxy" and tally.access(line, since, ours):
                requests += 1
                source["lines"] += 1
                source["bytes"] += len(line)
                continue
            dated = times.of(line)
            current = dated.time if dated.time is not None else current
            if current < since:
                continue
            source["lines"] += 1
            source["bytes"] += len(line)
            if dated.line is not None and dated.line.kind not in ("request", "job"):
                tally.parsed(origin, name, current, dated.line)
            else:
                tally.add(origin, name, current, dated.text.encode("utf-8", "ignore"))
        if file.reason and not source["truncated"]:
            source["truncated"], source["reason"] = True, file.reason[:200]
    return True, lines, requests
