# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a raw log line to a ``Line``: what was said, how bad, by which request or job. Policy-free; raises nothing.

``parse(origin, text)`` reads a message whose outer prefix (journald, syslog, docker, compose) is already gone; ``strip_prefix`` removes it
from pasted or stored text. ``Line.text`` is what signatures are matched on: values that strangers choose (paths, job arguments, SQL
statements) are left out of it, so nobody can write a fault into a log. An exception reads ``Class: message`` or ``Class (message``.
"""

from __future__ import annotations

import json
import re

from typing import Callable, Dict, NamedTuple, Optional

from ansible_collections.fediops.mastodon.plugins.module_utils import _lines_app, _lines_services
from ansible_collections.fediops.mastodon.plugins.module_utils._line import LIMIT, Line, epoch, fraction, month_epoch
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import strip_controls

ORIGINS = ("web", "sidekiq", "streaming", "proxy", "database", "redis", "pooler", "kernel", "system", "command")

PARSERS: Dict[str, Callable[[str], Line]] = {
    "web": _lines_app.rails,
    "sidekiq": _lines_app.sidekiq,
    "streaming": _lines_app.streaming,
    "command": _lines_app.command,
    "proxy": _lines_services.proxy,
    "database": _lines_services.postgres,
    "redis": _lines_services.redis,
    "pooler": _lines_services.pooler,
    "kernel": _lines_services.kernel,
    "system": _lines_services.system,
}


def parse(origin: str, text: str) -> Line:
    """One message of a source of this origin (a word of ORIGINS), any characters in it."""
    if not (text.isascii() and text.isprintable()):
        text = strip_controls(text)
    return PARSERS[origin](text[:LIMIT])


class Stripped(NamedTuple):
    """A line without its outer prefix; what the prefix said, as far as it did."""

    text: str
    time: Optional[float] = None
    identifier: str = ""
    pid: int = 0
    service: str = ""  # of docker compose, with the number of the container behind it


_COMPOSE = re.compile(r"(?:[\w ]{0,12}\d\d:\d\d(?::\d\d)? )?([A-Za-z0-9][\w.@-]{0,120})(?:[ \t]*\|(?: |$)|[ \t]+\|)")
# kubectl logs --prefix, and stern: pod and container; or the pod alone.
_POD = re.compile(
    r"\[pod/([\w.-]{1,200})/[\w.-]{1,63}\] |\[([a-z][a-z0-9.-]{1,200}-[0-9a-f]{6,10}-[a-z0-9]{5})\] (?=\S)"
    r"|([a-z][a-z0-9.-]{1,200}-[0-9a-f]{6,10}-[a-z0-9]{5})(?: (?!at |from |in )[a-z][a-z0-9-]{0,62})? (?!\d+/\d+\s)(?=\S)"
)
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)([.,]\d{1,9})? ?(Z|[+-]\d\d:?\d\d|[A-Z]{3,5}\b)?[ \t]*")
_SYSLOG = re.compile(r"([^\W\d_]{3,5})\.? {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.\d+)? {1,3}")
_SENDER = re.compile(r"(?:[\w.<>*#{}-]{1,255} )?(\(?[\w@./:-]{1,120}?\)?)(?: ?\[(\d{1,8})\])?: ?")
_DYNO = re.compile(r"(?:app|heroku|host)\[([\w.-]{1,60})\](?:: | \w+ \[\w+\] ?)")  # Heroku and its kin
_KERNEL_TIME = re.compile(r"\[ *\d{1,9}\.\d{6}\] ")
_KERNEL_DATE = re.compile(r"\[[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d\d:\d\d:\d\d) (\d{4})\] (?!\[)")  # dmesg -T; Apache goes on with [
_LOGGED = re.compile(  # Python's logging, of those who run other programs: YunoHost, supervisord
    r"(?P<yunohost>: (?:DEBUG|INFO|WARNING|ERROR) +- )"
    r"|(?P<supervisord> (?:CRIT|WARN|INFO|ERRO) (?=(?:exited|spawned|gave up|success|stopped): ))"
)
_WEEKDAY = re.compile(r"[A-Z][a-z]{2} (?=\d{4}-\d\d-\d\d )")


def strip_prefix(line: str) -> Stripped:
    """Remove what docker (json, ``-t``), compose, kubectl, syslog, journalctl (short, -iso, -full) or dmesg put before a message."""
    text = line[: 4 * LIMIT].rstrip("\r\n")
    when: Optional[float] = None
    service = ""
    if text.startswith('{"log":'):
        try:
            record = json.loads(text)
            text = str(record["log"]).rstrip("\r\n")
            stamp = _ISO.match(str(record.get("time", "")))
            if stamp:
                when = _stamp(stamp)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
    else:
        container = ("|" in text[:200] and _COMPOSE.match(text)) or _POD.match(text)
        if container:
            text, service = text[container.end() :], next(filter(None, container.groups()))
    weekday = _WEEKDAY.match(text)
    rest = text[weekday.end() :] if weekday else text
    stamp = _ISO.match(rest)
    if stamp:
        after = rest[stamp.end() :]
        dyno = _DYNO.match(after)
        if dyno:
            return Stripped(after[dyno.end() :], _stamp(stamp), service=dyno.group(1))
        logged = _LOGGED.match(rest, stamp.end(3)) if stamp.group(3) else None  # its level looks like a time zone
        if logged:
            return Stripped(rest[logged.end() :], _stamp(stamp), logged.lastgroup or "", 0, service)
        sender = _SENDER.match(after)
        if sender and (sender.group(2) or sender.group(1) == "kernel") and not after.startswith(("pid=", "[")):
            return Stripped(after[sender.end() :], _stamp(stamp), sender.group(1), int(sender.group(2) or 0), service)
        if stamp.group(3) and len(stamp.group(3)) == 10 and not after.startswith("pid="):  # docker logs -t: nanoseconds
            return Stripped(after, _stamp(stamp), service=service)
        return Stripped(text, when, service=service)
    syslog = _SYSLOG.match(text)
    if syslog:
        after = text[syslog.end() :]
        sender = _SENDER.match(after)
        if sender:
            hms = ":".join(syslog.group(3, 4, 5))
            at = month_epoch(syslog.group(1), int(syslog.group(2)), hms)
            return Stripped(after[sender.end() :], at, sender.group(1), int(sender.group(2) or 0), service)
    dated = _KERNEL_DATE.match(text)
    if dated:
        month, day, hms, year = dated.groups()
        return Stripped(text[dated.end() :], month_epoch(month, int(day), hms, int(year)), "kernel", 0, service)
    kernel = _KERNEL_TIME.match(text)
    return Stripped(text[kernel.end() :], when, "kernel", 0, service) if kernel else Stripped(text, when, service=service)


def _stamp(match: re.Match[str]) -> Optional[float]:
    base = epoch(match.group(1) + " " + match.group(2), (match.group(4) or "").replace(":", ""))
    return None if base is None else base + fraction(match.group(3))
