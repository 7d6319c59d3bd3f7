# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines as those who keep logs give them out again, around what a program wrote. Private to this collection.

Sources: systemd's journal export (https://systemd.io/JOURNAL_EXPORT_FORMATS/), journalctl(1) --output, RFC 5424 (syslog), the log format of
Kubernetes' container runtimes, logcli of Loki, the file exports of container managers, and the JSON of collectors such as Fluent Bit.
"""

from __future__ import annotations

import html
import json
import re
import typing as t

from ansible_collections.fediops.mastodon.plugins.module_utils._line import LIMIT
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import Stripped, strip_prefix
from ansible_collections.fediops.mastodon.plugins.plugin_utils._origins import shows

_DATE = r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_RUNTIME = re.compile(rf"{_DATE} (?:stdout|stderr) [FP] ")
_LOKI = re.compile(rf"{_DATE}\s+\{{[^{{}}]{{1,500}}\}}\s+")
_CSV = re.compile(rf'{_DATE},(?:stdout|stderr),("?)(.*)\1\s*\Z', re.DOTALL)
_SYSLOG = re.compile(r"<\d{1,3}>1 (\S{1,40}) \S{1,255} (\S{1,48}) (\d{1,8}|-) \S{1,32} (?:-|\[.{0,500}?\]) ?")
# journalctl -o short-unix and short-monotonic; the kernel has no process there.
_SECONDS = re.compile(r"(?:(\d{10}\.\d{6})|\[ *\d{1,9}\.\d{6}\]) [\w.-]{1,255} ([\w@./:()-]{1,120})\[(\d{1,8})\]: ")
_FIELD = re.compile(r" {4}MESSAGE=")  # of journalctl -o verbose
_STEP = re.compile(r"#\d{1,3} (?:\d{1,6}\.\d{1,3} |(?=ERROR))")  # of docker build
# grep in several files. One space is what a program writes behind the name of a file.
_FILE = re.compile(
    r"[\w./@+-]{1,200}\.(?:log|txt|out|err)(?:[.-]\d{1,8})?(?:\.gz)?([:-])(?:\d{1,9}\1(?!\d\d:)|(?=\S| {2}))"
)
_NAMED = re.compile(r"(?:\[([\w.-]{1,60})\]|\d{1,3}\|([\w.-]{1,60}))(?=\s+\| )")  # podman-compose; pm2
# A line as a string of JSON or YAML (Ansible's stdout_lines), or as code in a text.
_STRING = re.compile(r"\s*(\"(?:[^\"\\]|\\.)*\"),?\s*\Z|\s*- '(.*)'\s*\Z|`([^`]+)`\s*\Z", re.DOTALL)
# Dates of web interfaces and platforms, and signs of lists; followed by what the program wrote, with its own date if it writes one.
_BEFORE = tuple(
    re.compile(pattern.encode())
    for pattern in (
        rf"\[?{_DATE}\]?[ \t]+",
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?[+-]\d\d:\d\d",
        r"\d{4}-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?[ \t]+",
        r"[A-Z][a-z]{2} \d{1,2}, (?:\d{4} )?@? ?\d\d:\d\d:\d\d(?:\.\d{1,9})?[ \t]+",
        r"\d{1,2}[/.]\d{1,2}[/.]\d{4},? \d{1,2}:\d\d:\d\d(?: [AP]M)?[ \t]+",
        r"\d\d:\d\d:\d\d(?:[.,]\d{1,6})?[ \t]+",
        r"[-*] (?!')",
    )
)
_ENTITY = re.compile(r"&(?:quot|apos|gt|lt|amp|#0?39|#x27);")
_AROUND = frozenset("container container_name container_id kubernetes docker pod pod_name namespace _source stream".split())
_KEPT = re.compile(r'"(?:MESSAGE|container\w*|kubernetes|docker|pod\w*|namespace|_source|stream)" ?:')  # in every such record
_BEGINNINGS = frozenset("0123456789[<# ")
_COUNTED = re.compile(rb"(?!\d\d:\d\d(?::\d\d)?[ .,])\s{0,8}(\d{1,7})(?:[:-]|\t| {2})")


def unwrapped(text: str) -> Stripped:
    """What ``strip_prefix`` gives, of the line inside."""
    if text.startswith("{") and _KEPT.search(text):
        found = _of_json(text)
        if found:
            return found
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
    string = _STRING.match(text) if text.lstrip()[:1] in ('"', "-", "`") else None
    if string:
        text = _of_string(*string.groups())
    if text[:1] in _BEGINNINGS:  # most lines begin with something else: a month, a letter, a brace
        found = _dated(text)
        if found:
            return found
    around = _FILE.match(text) if any(ending in text for ending in (".log", ".out", ".err", ".txt")) else None
    found = strip_prefix(text[around.end() :] if around else text)
    inner = strip_prefix(found.text) if found.text != text and not (found.identifier or found.service) else found
    return inner if inner.identifier or inner.service else found


def _dated(text: str) -> Stripped | None:
    syslog, seconds, table = _SYSLOG.match(text), _SECONDS.match(text), _CSV.match(text)
    if syslog:
        return _told(text[syslog.end() :], syslog[1], syslog[2], syslog[3])
    if seconds:
        found = _told(text[seconds.end() :], "", seconds[2], seconds[3])
        return found._replace(time=float(seconds[1])) if seconds[1] else found
    if table:
        return strip_prefix(table[2].replace('""', '"'))
    for pattern in (_RUNTIME, _LOKI, _FIELD, _STEP):
        around = pattern.match(text)
        if around:
            return strip_prefix(text[around.end() :])
    named = _NAMED.match(text)
    return strip_prefix((named[1] or named[2]) + text[named.end() :]) if named else None


def _of_string(quoted: str | None, listed: str | None, code: str | None) -> str:
    try:
        return str(json.loads(quoted)) if quoted else (listed or "").replace("''", "'") or code or ""
    except ValueError:
        return quoted or ""


def _told(message: str, date: str, name: str, pid: str) -> Stripped:
    when = strip_prefix(date + " x[1]: ").time if date else None
    return Stripped(message, when, name, int(pid) if pid.isdigit() else 0)


def _of_json(text: str) -> Stripped | None:
    """A record of the journal, or of a collector that says which container it has it from; None when a program wrote it so itself."""
    try:
        record: t.Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    message = record.get("MESSAGE")
    if isinstance(message, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in message):
        message = bytes(message).decode("utf-8", "replace")  # with colours in it, or not UTF-8
    if isinstance(message, str):
        name, unit = str(record.get("SYSLOG_IDENTIFIER") or ""), str(record.get("_SYSTEMD_UNIT") or "")
        clock, pid = str(record.get("__REALTIME_TIMESTAMP") or ""), str(record.get("_PID") or "")
        served = unit.removesuffix(".service") if unit.endswith(".service") and name != "systemd" else name
        found = _told(message[:LIMIT], "", served or "journal", pid)
        return found._replace(time=int(clock) / 1e6) if clock.isdigit() and len(clock) < 20 else found
    message = next((record[key] for key in ("log", "message", "MESSAGE", "msg", "line") if isinstance(record.get(key), str)), None)
    return strip_prefix(message[: 4 * LIMIT]) if message is not None and _AROUND & record.keys() and "time" not in record else None


def before(lines: list[bytes]) -> re.Pattern[bytes] | None:
    """What stands before each of these first lines and is none of what programs write themselves."""
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip()
        if unwrapped(text).text != text or shows(text):
            return None
    return next((pattern for pattern in _BEFORE if all(map(pattern.match, lines))), None)


def are_counted(lines: list[bytes]) -> bool:
    """Whether these first lines have the numbers of grep -n, cat -n or an editor before them."""
    numbers = [int(found[1]) if found else 0 for found in map(_COUNTED.match, lines)]
    return len(numbers) > 1 and numbers[0] > 0 and all(one < other for one, other in zip(numbers, numbers[1:]))


def without_count(line: bytes) -> bytes:
    """The line without its number."""
    return _COUNTED.sub(b"", line, count=1) if _COUNTED.match(line) else line
