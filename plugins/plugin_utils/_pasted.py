# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts from log lines alone (docs/facts.md, section 4). Nothing but the lines is looked at. Private to this collection."""

from __future__ import annotations

import itertools
import json
import re
import time
import typing as t

from ansible_collections.fediops.mastodon.plugins.module_utils._gather import NAMES
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import Stripped, parse
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import strip_controls
from ansible_collections.fediops.mastodon.plugins.module_utils._tally import Tally, text_of
from ansible_collections.fediops.mastodon.plugins.plugin_utils._clocks import Clocks
from ansible_collections.fediops.mastodon.plugins.plugin_utils._end_date import EndDate
from ansible_collections.fediops.mastodon.plugins.plugin_utils._json_pieces import JsonPieces
from ansible_collections.fediops.mastodon.plugins.plugin_utils._ldd import Ldd
from ansible_collections.fediops.mastodon.plugins.plugin_utils._listing import Listing
from ansible_collections.fediops.mastodon.plugins.plugin_utils._log_file import Case, Lines
from ansible_collections.fediops.mastodon.plugins.plugin_utils._origins import AUTO, Origins, origin_of_whole, shows
from ansible_collections.fediops.mastodon.plugins.plugin_utils._redis_cli import RedisCli
from ansible_collections.fediops.mastodon.plugins.plugin_utils._sidekiq_pages import Failure, SidekiqPages
from ansible_collections.fediops.mastodon.plugins.plugin_utils._sidekiq_readings import SidekiqReadings
from ansible_collections.fediops.mastodon.plugins.plugin_utils._sidekiqmon import Sidekiqmon
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line
from ansible_collections.fediops.mastodon.plugins.plugin_utils._wrapped import are_counted, before, unwrapped, without_count

DEPLOYMENTS = ("systemd", "docker")
# Mastodon's own version: a fork writes it behind a plus sign ("hometown 1.0.6+3.5.2").
_VERSIONS = tuple(re.compile(before + r"v?(\d{1,2})\.(\d{1,2})(?:\.(\d{1,3}))?") for before in (r"\+", r"(?<![\d.])"))
_CONTAINER = re.compile(r'/opt/mastodon\b|^\{"log":"')
_CONTAINERS = re.compile(r"\b(?:docker|podman|kubectl|kubernetes|containers?|pods?)\b", re.IGNORECASE)
_TASK_RESULT = re.compile(r"(?:fatal|failed|changed|ok): \[[^\]]{1,255}\].{0,40}=> (\{.*\})\s*\Z", re.DOTALL)
_COMMAND_OF = re.compile(r"command output of ([\w./=:@ -]{1,200}?)(?= [(/+]|,|\Z)")
# What people leave of a line of nginx; in a log on a server it could be what a visitor sent.
_NGINX_REST = re.compile(
    r"(?:\[(?:warn|error|crit|alert|emerg)\] (?!\[|\d+#))?((?:\w{3,10}\(\) (?:\"[^\"]*\" )?(?:failed|\(\d+: )"
    r"|upstream (?:timed out|prematurely closed|sent (?:too big|invalid|no valid))|no live upstreams"
    r"|client intended to send too large body|directory index of \"|rewrite or internal redirection cycle).*)", re.DOTALL
)  # fmt: skip
# The error of a job as its page shows it, before the backtrace.
_NAKED = re.compile(
    r"(?:[A-Z]\w{0,60}::){0,6}(?:E[A-Z]{4,15}|[A-Z]\w{0,60}?(?:Error|Exception|Timeout|Violation|Invalid|NotFound|Failure|Full|Bad)): \S"
)
# Too many requests, and the program that sent them.
_REFUSED = re.compile(r'(?<![\w.:])([0-9A-Fa-f:.]{2,45}) \S{1,64} \S{1,64} \[[^\]]{1,64}\] "[^"]*" 429 \S{1,20} "[^"]*" "([^"]{1,500})"')
# Streams that a proxy asked the web process for; the streaming server knows them.
_MISROUTED = re.compile(
    r'"GET /api/v1/streaming(?:/(?:user|public|direct)(?:/(?:notification|local|remote))?[? ][^"]{0,2000}" 404 '
    r'|[/?" ][^"]{0,2000}" 404 .{0,2000}:3000 )'
)
# Others that write into the same journal.
_OTHERS = re.compile(
    r"(?:matrix-)?synapse|dendrite|nextcloud|gitea|forgejo|gitlab|peertube|pleroma|akkoma|misskey|lemmy|gotosocial|php[\d.]*-fpm|mariadbd?|mysqld?"
    r"|sshd(?:-session)?|CRON|cron|fail2ban.*|grafana.*|prometheus.*|jellyfin|smbd|named|clamd|freshclam"
)
_FOREMAN = re.compile(r"[\w-]+\.\d+")  # it has compose's prefix, and starts plain processes
_MOST_PARTS = 2000
_MOST_FIRST = 50
# Colours as less, rsyslog and JSON print their escape character.
_PRINTED_COLOURS = re.compile(r"(?:\^\[|#033|\\(?:e|x1[bB]|u001[bB]|033)|\u241b)\[[0-9;]{0,12}m")
# A quotation in a mail or a ticket; not what npm prints before the commands it runs.
_QUOTE = re.compile(
    r"> {0,2}(?=[●○×*] \S+\.service|\s+(?:Active|Loaded|Process|Main PID):"
    r"|[^\W\d_]{3,5}\.? {1,2}\d{1,2} \d\d:\d\d|\[[0-9a-f]{8}-|\d{4}-\d\d-)"
)
# A date that somebody cut off, or ``journalctl -o cat``: only programs that nothing else begins with.
_BARE = re.compile(
    r"(?:[\w.-]{1,255} )?(bundle|puma|sidekiq|node|npm|systemd|postgres|redis-server|valkey-server|nginx|ruby[\d.]*) ?\[(\d{1,8})\]: ?"
)
_NO_TEXT = re.compile(rb"[\0-\x06\x10-\x1a\x1c-\x1f]")  # what next to no terminal is sent
_FRAME = re.compile(rb"[\0-\2]\0\0\0.{4}", re.DOTALL)  # before each line that Docker's API gives of a container without a terminal
_NPM = re.compile(rb"> (?:@?[\w./-]+@\S+ \w|(?:node|npm|yarn|webpack|vite|cross-env|\w+ --?\w))")  # its sign before each command
_STAMP = re.compile(r"\A\[\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\] ?")  # before each line of a terminal that keeps the time (ts, script)
_STATUS_UNIT = re.compile(r"\s{0,4}[●○×↻•*x✗] ([\w@.\\:-]{1,200}\.service)\b")
_STATUS_ACTIVE = re.compile(r"\s{1,20}(Active: \w+.*)")


def version_of(text: str) -> list[int]:
    """[4, 3, 1] of "4.3.1+glitch"; empty when there is none that this collection knows (3.4 and newer)."""
    found = next(filter(None, (pattern.search(text) for pattern in _VERSIONS)), None)
    if found is None:
        return []
    number = [int(part) for part in found.groups() if part is not None]
    return number if (3, 4) <= tuple(number[:2]) < (10,) else []


class Pasted:
    """Feed ``add`` the lines of one log, then take ``facts`` once. ``whole``: origin of lines that do not show theirs, or auto."""

    def __init__(self, signatures: t.Mapping[str, t.Mapping[str, t.Any]], whole: str = AUTO) -> None:
        self._tally = Tally(signatures)
        self._origins = Origins(whole)
        self._sources: dict[str, dict[str, t.Any]] = {}
        self._first: float | None = None
        self._last: float | None = None
        self._time = 0.0
        self._container = False
        self._logged = False  # lines of Sidekiq's log were among them, and not only what its pages show
        self._unit = ""
        self._lines = self._strange = 0
        self._wide = False
        # By commands, over several lines.
        self._printed: dict[str, Sidekiqmon | SidekiqReadings | RedisCli | Ldd | EndDate | Clocks | Listing] = {
            "sidekiqmon": Sidekiqmon(), "Sidekiq": SidekiqReadings(), "redis-cli": RedisCli(), "ldd": Ldd(), "openssl": EndDate(),
            "date": Clocks(), "ls": Listing(),
        }  # fmt: skip
        self._pages = SidekiqPages()
        self._pieces = JsonPieces(whole)

    def add(self, raw: bytes) -> None:
        if not self._lines:  # UTF-16, of which the zero bytes are left out below
            marked = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
            raw = raw[2:] if marked else raw
            self._wide = marked or len(raw) > 3 and not raw[1:40:2].strip(b"\0") and 0 not in raw[:40:2]
        if not self._wide and _FRAME.match(raw):
            raw = raw[8:]
        self._lines += bool(raw.strip())
        self._strange += not self._wide and _NO_TEXT.search(raw) is not None
        line = unwrapped(_QUOTE.sub("", _PRINTED_COLOURS.sub("", text_of(raw))))
        bare = _BARE.match(line.text) if not line.identifier else None
        if bare:
            line = line._replace(text=line.text[bare.end() :], identifier=bare[1], pid=int(bare[2]))
        if _OTHERS.fullmatch(line.identifier or line.service or ""):
            return
        composed = bool(line.service) and _FOREMAN.fullmatch(line.service) is None
        self._container = self._container or composed or _CONTAINER.search(line.text) is not None or raw.startswith(b'{"log":')
        for part in _parts(line):
            prefixed = part.identifier or part.service  # then a service wrote it, not a page
            piece, failures = (None, None) if prefixed else (self._pieces.told(part.text), self._pages.told(part.text))
            if isinstance(piece, Failure):
                failures = [piece]
            if failures is None:
                self._one(part._replace(text=piece) if isinstance(piece, str) else part)
            for failure in failures or ():
                self._failed(part, *failure)
            self._status(part)
            if not prefixed and not shows(part.text):
                self._read(_STAMP.sub("", part.text))

    def _read(self, text: str) -> None:
        """A line that a command may have printed."""
        for name, reader in self._printed.items():
            told = reader.told(text)
            if told:
                self._tally.add("command", name, self._time, told.encode())

    def _failed(self, line: Stripped, job: str, name: str, message: str) -> None:
        """As Sidekiq's own log would tell it."""
        prefix = time.strftime("%Y-%m-%dT%H:%M:%S.000Z pid=1 tid=ui", time.gmtime(self._time))
        for text in (f"{prefix} class={job} jid=000000000000 elapsed=0 INFO: fail", f"{prefix} WARN: {name}: {message}"):
            self._one(line._replace(text=text, identifier="sidekiq"))

    def _status(self, line: Stripped) -> None:
        """``systemctl status`` names the unit in one line and its state in another: what systemd itself would log of it in one."""
        head = _STATUS_UNIT.match(line.text)
        if head:
            self._unit = head[1]
        active = _STATUS_ACTIVE.match(line.text) if self._unit else None
        if active:
            self._tally.add("system", "systemctl status", self._time, f"{self._unit}: {active[1]}"[:500].encode())
            self._unit = ""

    def _one(self, line: Stripped) -> None:
        text = strip_controls(line.text)  # colours hide what a line begins with
        origin = self._origins.of(line._replace(text=text))
        rest = _NGINX_REST.match(text) if origin == "proxy" else None
        if rest:
            text = "[error] 0#0: " + rest[1]
        if origin == "sidekiq":
            self._logged = self._logged or bool(line.service or line.identifier) or shows(text)
            if not self._logged and _NAKED.match(text):  # in a log it may be a line of what a stranger answered
                text = "WARN: " + text
        name = line.service or line.identifier or "log"
        source = self._sources.setdefault(
            origin, {"origin": origin, "name": name[:120], "kind": "pasted", "lines": 0, "bytes": 0, "truncated": False}
        )
        source["lines"] += 1
        source["bytes"] += len(text)
        message = text.encode("utf-8", "ignore")
        if origin == "proxy" and self._tally.access(message, 0.0):
            refused = _REFUSED.search(text)
            if refused:
                self._tally.traffic.refused(*refused.groups())
            self._tally.traffic.at_streaming += _MISROUTED.search(text) is not None
            return
        when = line.time if line.time is not None else parse(origin, text).time
        if when is not None and when > 0:
            self._time = when
            self._first = when if self._first is None else min(self._first, when)
            self._last = when if self._last is None else max(self._last, when)
        self._tally.add(origin, name, self._time, message, line.pid)

    def facts(self, name: str, version: str = "", deployment: str = "", truncated: str = "") -> dict[str, t.Any]:
        """The facts. ``truncated``: why not all of the log could be read, or empty."""
        self._read("")  # the end of what was printed last
        now = time.time()
        number = version_of(version)
        install: dict[str, t.Any] = {}
        if number:
            install["version"] = {"string": clean_line(version, 60), "number": number}
        if deployment in DEPLOYMENTS or self._container:
            install["deployment"] = deployment if deployment in DEPLOYMENTS else "docker"
        probes: dict[str, dict[str, t.Any]] = {
            subset: {"state": "skipped", "seconds": 0.0, "reason": "only log lines were given"} for subset in NAMES
        }
        reason = "; ".join(filter(None, (truncated, self._odd())))
        logs = self._tally.result()
        text = self._strange * 5 < self._lines * 4  # else it is a file of another kind, unless something was understood
        known = logs["exceptions"] or any(one["samples"][0]["origin"] != "command" for one in logs["signatures"].values())
        state = "ok" if self._lines and (text or known) else "failed"
        probes["logs"] = {"state": state, "seconds": 0.0, **({"reason": reason} if reason else {})}
        del logs["_oom_kills"]
        return {
            "schema": 1,
            "time_epoch": self._last or now,
            "host": {"name": name},
            "install": install,
            "probes": probes,
            "logs": {
                "alone": True,
                "since_epoch": self._first or now,
                "until_epoch": self._last or now,
                "sources": list(self._sources.values()),
                **logs,
            },
        }

    def _odd(self) -> str:
        """Why next to nothing can be found in it, or empty."""
        if not self._lines:
            return "there is no line of text in it"
        return f"{self._strange} of {self._lines} lines hold bytes that are no text" if self._strange else ""


def _parts(line: Stripped) -> t.Iterator[Stripped]:
    """The result of a task of Ansible holds the output of a command as JSON; every other line is one."""
    result = _TASK_RESULT.match(line.text)
    if result is None:
        yield line
        return
    try:
        record = json.loads(result[1])
    except (ValueError, RecursionError):
        record = {"msg": result[1].replace('\\"', '"').replace("\\n", "\n")}  # cut off
    texts = [str(record[key]) for key in ("msg", "stdout", "stderr") if isinstance(record, dict) and isinstance(record.get(key), str)]
    for text in "\n".join(texts).splitlines()[:_MOST_PARTS]:
        yield line._replace(text=text)


def _unquoted(lines: t.Iterable[bytes]) -> t.Iterator[bytes]:
    """The lines without what stands before each of the first ones: quoted in a mail, indented as a block of code, counted."""
    several = iter(lines)
    first = list(itertools.islice(several, _MOST_FIRST))
    written = [line for line in first if line.strip()]
    margin = re.sub(rb"[^> \t].*", b"", written[0], flags=re.DOTALL) if written else b""
    for line in written:
        while not line.startswith(margin):
            margin = margin[:-1]
    if len(written) == 1 and _NPM.match(written[0]):
        margin = b""
    written = [line[len(margin) :] for line in written]
    counted = are_counted(written)
    dated = before([without_count(line) for line in written] if counted else written)
    for line in itertools.chain(first, several):
        inner = line[len(margin) :] if line.startswith(margin) else line
        inner = without_count(inner) if counted else inner
        yield dated.sub(b"", inner, count=1) if dated and dated.match(inner) else inner


def facts_of_log(
    lines: Lines, name: str, signatures: t.Mapping[str, t.Mapping[str, t.Any]], whole: str = AUTO, version: str = "", deployment: str = ""
) -> dict[str, t.Any]:
    """Facts of one log file."""
    pasted = Pasted(signatures, whole)
    several = iter(lines)
    first = list(itertools.islice(several, 2))
    if len(first) == 1:  # an old Macintosh ends each line with a carriage return alone
        first = first[0].split(b"\r")
    for line in _unquoted(itertools.chain(first, several)):
        pasted.add(line)
    return pasted.facts(name, version, deployment, lines.truncated)


def facts_of_case(case: Case, signatures: t.Mapping[str, t.Mapping[str, t.Any]], whole: str = AUTO) -> dict[str, t.Any]:
    """Facts of one of many logs; where it says who wrote it, that counts for lines that do not show it."""
    pasted = Pasted(signatures, whole if whole != AUTO else origin_of_whole(case.where))
    command = _COMMAND_OF.match(case.where)
    if command:  # as it is in a log that begins with what was typed
        pasted.add(b"$ " + command.group(1).encode())
    for line in _unquoted(line.encode("utf-8", "surrogateescape") for line in case.lines.splitlines()):
        pasted.add(line)
    in_containers = _CONTAINERS.search(case.where) and case.deployment not in DEPLOYMENTS
    return pasted.facts(case.id, case.version, "docker" if in_containers else case.deployment)
