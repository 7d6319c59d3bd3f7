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
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

_DATE = r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_RUNTIME = re.compile(rf"({_DATE}) (?:stdout|stderr) [FP] ")
_LOKI = re.compile(rf"({_DATE})\s+\{{[^{{}}]{{1,500}}\}}\s+")
_CSV = re.compile(rf'({_DATE}),(?:stdout|stderr),("?)(.*)\2\s*\Z', re.DOTALL)
_SYSLOG = re.compile(r"<\d{1,3}>1 (\S{1,40}) \S{1,255} (\S{1,48}) (\d{1,8}|-) \S{1,32} (?:-|\[.{0,500}?\]) ?")
# journalctl -o short-unix and short-monotonic; the kernel has no process there.
_SECONDS = re.compile(r"(?:(\d{10}\.\d{6})|\[ *\d{1,9}\.\d{6}\]) [\w.-]{1,255} ([\w@./:()-]{1,120})\[(\d{1,8})\]: ")
_MONTH = re.compile(  # a date that somebody left of what syslog writes
    r"([A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d) "
    r"(?=(?:INFO|WARN|ERROR|FATAL): |method=[A-Z]|app/\S{1,200}:\d|/\S{1,200}:\d{1,6}:in |\[[0-9a-f]{8}-)"
)
_FIELD = re.compile(r" {4}MESSAGE=")  # of journalctl -o verbose
_STEP = re.compile(r"#\d{1,3} (?:\d{1,6}\.\d{1,3} |(?=ERROR))")  # of docker build
# grep in several files. One space is what a program writes behind the name of a file, and "812:M 02 Jan" is Redis' own.
_FILE = re.compile(
    r"[\w./@+-]{1,200}\.(?:log|txt|out|err)(?:[.-]\d{1,8})?(?:\.gz)?([:-])(?:(?!\d{4}-\d\d-)\d{1,9}\1(?!\d\d:|[XCSM] \d)|(?=\S| {2}))"
)
_NAMED = re.compile(r"(?:\[([\w.-]{1,60})\]|\d{1,3}\|([\w.-]{1,60}))(?=\s+\| )")  # podman-compose; pm2
# A line as a string of JSON or YAML (Ansible's stdout_lines), as the message of JSON that was printed over several lines, or as code in a
# text, also behind a word in bold (trackers of errors).
_STRING = re.compile(
    r"\s*(?:\"(?:message|msg)\": )?(\"(?:[^\"\\]|\\.)*\"),?\s*\Z|\s*- '(.*)'\s*\Z"
    r"|(?:\*\*[\w ]{3,30}:\*\* )?`+ ?([^`]+?) ?`+\s*\Z", re.DOTALL
)
_FRAMED = re.compile(r"[│┃] (.*\S)\s*[│┃]\Z", re.DOTALL)  # by a terminal program
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
# Keys of those who collect, and of programs that write JSON themselves, in which an error has keys of its own.
_AROUND = frozenset("container container_name container_id kubernetes docker pod pod_name namespace _source stream".split())
_OWN = frozenset("level severity logger record error err exception stack stacktrace ts time".split())
_SERVED = re.compile(r"(?!user@|docker\.|containerd\.|podman\.)(.+)\.service")
_KEPT = re.compile('"(?:MESSAGE|%s)" ?:' % "|".join(sorted(_AROUND)))
_BEGINNINGS = frozenset("0123456789[< ")
_COUNTED = re.compile(rb"\s{0,8}(\d{1,7})(?:[:-]|\t| {2})")
_TIME = re.compile(rb"\d\d:\d\d(?::\d\d)?[ .,]|\d{4}-\d\d-\d\d")


def unwrapped(text: str) -> Stripped:
    """What ``strip_prefix`` gives, of the line inside."""
    if text.startswith("{") and _KEPT.search(text):
        found = _of_json(text)
        if found:
            return found
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
    for _time in range(2):  # a property of printed JSON, in a list of JSON
        string = _STRING.match(text) if text.lstrip()[:1] in ('"', "-", "`", "*") else None
        if string is None:
            break
        text = _of_string(*string.groups())
    framed = _FRAMED.match(text) if text[:1] in ("│", "┃") else None
    text = framed[1] if framed else text
    if text[:1] in _BEGINNINGS:  # most lines begin with something else: a month, a letter, a brace
        found = _dated(text)
        if found:
            return found
    around = _FILE.match(text) if any(ending in text for ending in (".log", ".out", ".err", ".txt")) else None
    found = _stripped(text[around.end() :] if around else text)
    again = found.text != text and not (found.identifier or found.service)  # a date around the prefix of a container
    inner = _stripped(found.text) if again else found
    return inner if inner.identifier or inner.service else found


def _stripped(text: str) -> Stripped:
    """Some put two spaces behind the name of the program; the build of an image is in logs of its own and in those of others."""
    month = _MONTH.match(text)
    if month:
        return _at(strip_prefix(text[month.end() :]), month[1])
    step = _STEP.match(text) if text[:1] == "#" else None
    found = strip_prefix(text[step.end() :] if step else text)
    two = found.text[:1] == " " and (found.identifier or found.service) and shows(found.text[1:])
    return found._replace(text=found.text[1:]) if two else found


def _dated(text: str) -> Stripped | None:
    syslog, seconds, table = _SYSLOG.match(text), _SECONDS.match(text), _CSV.match(text)
    if syslog:
        return _told(text[syslog.end() :], syslog[1], syslog[2], syslog[3])
    if seconds:
        found = _told(text[seconds.end() :], "", seconds[2], seconds[3])
        return found._replace(time=float(seconds[1])) if seconds[1] else found
    if table:
        return _at(_stripped(table[3].replace('""', '"')), table[1])
    for pattern in (_RUNTIME, _LOKI):
        around = pattern.match(text)
        if around:
            return _at(_stripped(text[around.end() :]), around[1])
    field = _FIELD.match(text)
    if field:
        return _stripped(text[field.end() :])
    named = _NAMED.match(text)
    return _stripped((named[1] or named[2]) + text[named.end() :]) if named else None


def _of_string(quoted: str | None, listed: str | None, code: str | None) -> str:
    try:
        return str(json.loads(quoted)) if quoted else (listed or "").replace("''", "'") or code or ""
    except ValueError:
        return quoted or ""


def _at(line: Stripped, date: str) -> Stripped:
    return line if line.time is not None else line._replace(time=strip_prefix(date.replace("/", "-") + " x[1]: ").time)


def _told(message: str, date: str, name: str, pid: str) -> Stripped:
    return _at(Stripped(message, None, clean_line(name, 120), int(pid) if re.fullmatch("[0-9]{1,8}", pid) else 0), date)


def _of_json(text: str) -> Stripped | None:
    """A record of the journal, or of a collector that says which container it has it from; None when a program wrote it so itself."""
    try:
        record: t.Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    message = record.get("MESSAGE")  # of the journal
    if isinstance(message, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in message):
        message = bytes(message).decode("utf-8", "replace")  # with colours in it, or not UTF-8
    if isinstance(message, str):
        name, unit = str(record.get("SYSLOG_IDENTIFIER") or ""), str(record.get("_SYSTEMD_UNIT") or "")
        clock, pid = str(record.get("__REALTIME_TIMESTAMP") or ""), str(record.get("_PID") or "")
        known = _SERVED.fullmatch(unit) if name != "systemd" else None
        served = str(record.get("CONTAINER_NAME") or (known[1] if known else "") or name or "journal")
        found = _told(_whole(message)[:LIMIT], "", served, pid)
        return found._replace(time=int(clock) / 1e6) if re.fullmatch("[0-9]{10,17}", clock) else found
    if not _AROUND & record.keys() or _OWN & {str(key).partition(".")[0] for key in record}:
        return None
    message = next((record[key] for key in ("log", "message", "msg", "line") if isinstance(record.get(key), str)), None)
    if message is None:
        return None
    inner = _whole(message)[: 4 * LIMIT]
    return _dated(inner) or _stripped(inner)


def _whole(text: str) -> str:
    r"""Without halves of characters, which JSON can hold ("\ud800") and nothing can write."""
    return text.encode("utf-8", "replace").decode()


def before(lines: list[bytes]) -> re.Pattern[bytes] | None:
    """What stands before each of these first lines and is none of what programs write themselves."""
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip()
        if unwrapped(text).text != text or shows(text):
            return None
    return next((pattern for pattern in _BEFORE if all(map(pattern.match, lines))), None)


def are_counted(lines: list[bytes]) -> bool:
    """Whether these first lines have the numbers of grep -n, cat -n or an editor before them; of a single one that is known behind it."""
    if any(shows(line.decode("utf-8", "replace")) for line in lines):
        return False
    numbers = [int(found[1]) if found else 0 for found in map(_COUNTED.match, lines)]
    times = [_TIME.match(line) is not None for line in lines]
    if not numbers or not numbers[0] or all(times):
        return False
    if len(lines) == 1:
        inner = without_count(lines[0]).decode("utf-8", "replace").rstrip()
        return shows(inner) or unwrapped(inner).text != inner
    if any(times):  # "12:11 slow queries" is the twelfth line where each has the number behind that of the one before
        return numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return all(one < other for one, other in zip(numbers, numbers[1:]))


def without_count(line: bytes) -> bytes:
    """The line without its number."""
    return _COUNTED.sub(b"", line, count=1) if _COUNTED.match(line) else line
