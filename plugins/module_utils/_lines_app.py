# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of Mastodon's own processes: Rails (4.1 and older: no prefix; 4.2+: ``I, [...]``), Puma, Sidekiq 5 to 8, streaming (npmlog, pino).

Each function takes text without outer prefix and terminal sequences and returns a ``Line``.
"""

from __future__ import annotations

import json
import re

from typing import Any, Dict, Optional

from ansible_collections.fediops.mastodon.plugins.module_utils._line import LIMIT, Line, detail, epoch, fraction

_RAILS = re.compile(r"(?:([DIWEFA]), \[([^ \]]{1,40}) #\d+\]\s+([A-Z]+) -- [^:]{0,60}: ?)?(?:\[([\w@-]{1,255})\](?: |$))?")
_PUMA = re.compile(r"(?:\* |! |- |\+ |=|Puma |\s*$|\*  |Early )")
_REQUEST = re.compile(r"method=(\S+) path=(\S*) .*?\bstatus=(\d{3})\b")
_ERROR = re.compile(
    r" error='((?:[A-Z]\w*(?:::\w+)*))(?:: (.*?))?'(?= (?:allocations|duration|view|db|location|key|unpermitted_params)=|$)"
)
_STRANGE = re.compile(r" (?:path|key|location|params|host|remote_ip|format|unpermitted_params)=\S*")
_UNPERMITTED = re.compile(r" unpermitted_params=\[.*(?= key=\S+$)| unpermitted_params=\[.*", re.S)
_CLASS = r"[A-Z]\w*(?:::[A-Z]\w*)*"
_HEAD = re.compile(r"(" + _CLASS + r") \((.*?)(\):?)?\Z", re.S)  # without the blanks at the end, of which a stranger may send thousands
_CAUSE = re.compile(r"Caused by: (" + _CLASS + r") \((.*?)(\))?\Z", re.S)
_NAMED = re.compile(r"\w+(?:::\w+)+$|\w*(?:Error|Exception|Invalid|NotFound|NotUnique|Timeout|Failed|Failure|Refused|Killed|Interrupt)$")
# Only these quote a cause of their own; the message of any other may be a stranger's, and begin with any class.
_WRAPPER = re.compile(r"ActiveRecord::(?!Record(?!NotUnique))|ActionView::Template::Error$")
_INNER = re.compile(r"(" + _CLASS + r"): +(.*)", re.S)
_RUBY_DEATH = re.compile(r"(\S*(?:\w\.r[bu]|\.rake|\bbin/\w{1,20}):\d+):in [`'].*?': (.*) \((" + _CLASS + r")\)\s*$")
_UNLOADABLE = re.compile(r"! Unable to load application: (" + _CLASS + r"): (.*)", re.S)
_FRAME = re.compile(
    r"\s*(?:from )?(/?(?:[\w./@+-]*/live/|[\w./@+-]*?))\b((?:app|lib|config)/[\w./-]+\.(?:rb|haml|erb|rake|ruby|slim)):(\d+)"
    r"(?::in [`'].*'\s*$|\s*$)"
)
_ANY_FRAME = re.compile(
    r"(?!\w+:\d+\s*$)\s*(?:from )?(?:/|[\w./-]+ \([\d.\w-]+\) |<internal:)?[\w./@+-]*[\w>]:\d+(?::in [`'].*'\s*$|:\d+\)?$|\s*$)"
)
_FOREIGN = re.compile(r"/(?:gems|ruby|rubygems|rubygems-integration|node_modules|vendor_ruby)/")
_KIQ = re.compile(  # without a time where the platform notes that (Sidekiq::Logger::Formatters::WithoutTimestamp)
    r"(?:(DEBUG|INFO|WARN|ERROR|FATAL)\s+)?"
    r"(?:(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z (?:pid=)?\d+ (?:tid=|TID-)|(?:pid=\d+ )?tid=|\d+ TID-)([^\s:]{1,40})[ ]?"
)
_KIQ_BARE = re.compile(r"(WARN|ERROR|FATAL): (?=\S)")  # somebody cut off all that is before it
_KIQ_AFTER = re.compile(r"(?:(.*?) )??(DEBUG|INFO|WARN|ERROR|FATAL): (.*)", re.S)
_JOB_JSON = ('{"context"', '{"class"', '{"retry"', '{"queue"')
_JID = re.compile(r"\b(?:jid=|JID-|\"jid\" ?(?:=>|:) ?\")([0-9a-f]{12,32})")
_WRAPPED = re.compile(r"\"wrapped\" ?(?:=>|:) ?\"([\w:]+)")
_ERROR_PAIR = re.compile(r'"error_message" ?: ?"((?:\\.|[^"\\]){0,2000})" ?, ?"error_class" ?: ?"([A-Z][\w:]{2,100})"')
_JOB_CLASS = re.compile(r"(?:\bclass=|\"(?:wrapped|class)\" ?(?:=>|:) ?\")([\w:]+)")
# A table of failed jobs: job, error, arguments.
_LISTED = re.compile(r"\s*[A-Z][\w:]{2,120}(?: {2,}|\t+| [–|] )(" + _CLASS + r")(?:: | \| )(.*)", re.S)
_TASK_ERROR = re.compile(
    r"(?:(?:Caused by|Exception): )?((?:PG|Mastodon)::\w+|(?:[A-Z]\w*::)*[A-Z]\w+(?:Error|Exception|Invalid|NotFound|Failed|Violation))"
    r": (?!:)(\S.*)",
    re.S,
)
# Puma, of what the application did not rescue itself. In the request's line no # can be; behind it stands what the visitor says are the
# addresses that it passed, and anything else there means that nobody can tell whose the class is.
_RACK = re.compile(
    r"(?:\S{10} [\d:]{8} [+-]\d{4} )?Rack app (?:\(|error)[^#]{0,4000}\" - \([0-9A-Fa-f:., ]{0,200}\)\)?: #<("
    + _CLASS + r"): (?!.*\)\)?: #<)(.*?)>?\Z",
    re.S,
)
_AGAIN = re.compile(r"Information for(?: cause)?: (" + _CLASS + r") \((.*)", re.S)
_PERFORMED = re.compile(  # what ActiveJob says of its jobs, which send mail; its name reads like the id of a request
    r"(?:\[[\w:-]{1,120}\] ){0,3}(?:Error performing|Stopped retrying|Retrying) ([A-Z][\w:]{1,120})"
    r"(?: \(Job ID: [0-9a-f-]{36}\)| from ).{0,200}?(?: in [\d.]+ms: | due to an? )(" + _CLASS + r") \((.*)", re.S
)  # fmt: skip
_PERFORMED_END = re.compile(r"\)[:.]?$")
_TAIL = re.compile(r"(.*) \((" + _CLASS + r")\)\s*$", re.S)
_STRANGE_LINES = ("LINE ", "DETAIL:", "DETALLE:", "LIGNE ", "ZEILE ", "DÉTAIL", "Command :: ")
# How Rails asks for the columns of a table of its own.
_COLUMNS_OF = re.compile(r"LINE \d{1,4}: +WHERE a\.attrelid = '\"\w{1,63}\"'::regclass\s*\Z")
_DUPLICATED = re.compile(r"DETAIL: +Key \((?!\w*id\b).{1,200}\)=\(.{0,400}\) is duplicated\.?\s*\Z")
# The class behind what the server said.
_REPORTED = re.compile(r"((?:ERROR|FATAL|FEHLER|ERREUR): .*) \((PG::[A-Z]\w{1,60})\)\Z", re.S)
_NPM = re.compile(r"(silly|verb|info|http|WARN|ERR!) ?(.*)", re.S)
_UUID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) (.*)", re.S)
_NODE_ERROR = re.compile(r"(?:Uncaught )?((?:[A-Z]\w{0,80})?(?:Error|Exception)\w{0,80})(?: \[\w+\])?: (.*)", re.S)
_NODE_FRAME = re.compile(
    r"(?:^|\n) {0,8}at (?:[^\n()]{1,120} \()?[^\n()]{0,300}?/(streaming/[\w/]{1,60}\.js:\d{1,6})(?::\d{1,6})?\)?(?=\n|$)"
)
_SEVERITIES = {"D": "debug", "I": "info", "W": "warn", "E": "error", "F": "fatal", "A": "unknown", "ERR!": "error", "verb": "debug"}
_PINO = {10: "debug", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}


def rails(text: str) -> Line:
    """Rails and Puma. The tag ``[…]`` of digits only, before one of Puma's marks, is Puma's process id."""
    match = _RAILS.match(text)
    if match is None:  # cannot be: every part is optional
        return Line("text", text)
    letter, stamp, _word, rid = match.groups()
    when: Optional[float] = None
    if stamp:  # the application's clock: UTC on servers as shipped, else local; only used where the source has no time
        base = epoch(stamp, "")
        when = None if base is None else base + fraction(stamp[19:])
    severity = _SEVERITIES.get(letter or "", "")
    message = text[match.end() :]
    rid = rid or ""
    if rid.isdigit() and not letter and _PUMA.match(message):
        rid = ""
    if message.startswith("method="):
        return _request(message, severity, rid, when)
    if not message.strip():
        return Line("more", "", severity, rid, "", when)
    return _report(message, severity, rid, when)


def command(text: str) -> Line:
    """The same of what a command printed: there a value that is twice in the database is nobody's trick, and a task that fails names
    what was raised without a word around it."""
    line = rails(text)
    raised = _TASK_ERROR.match(text) if line.kind == "text" else None
    if raised:
        return line._replace(kind="exception", severity="error", fields=dict(_named(*raised.groups()), single=True))
    return line._replace(kind="text", text="DETAIL:  Key") if line.kind == "statement" and _DUPLICATED.match(text) else line


def _request(message: str, severity: str, rid: str, when: Optional[float]) -> Line:
    message = _UNPERMITTED.sub("", message)
    match = _REQUEST.match(message)
    if match is None:
        return Line("text", _STRANGE.sub("", message), severity, rid, "", when)
    fields: Dict[str, Any] = {"method": match.group(1), "path": match.group(2), "status": int(match.group(3))}
    error = _ERROR.search(message, match.end())
    head = message[: error.start()] if error else message
    for key in ("controller", "action", "duration"):
        found = re.search(r" " + key + r"=(\S+)", head if key != "duration" else message)
        if found:
            fields[key] = found.group(1)
    if error:
        fields["class"], fields["message"] = innermost(error.group(1), error.group(2) or "")
    elif " error='" in message:  # broken by a newline in the message
        found = re.search(r" error='(" + _CLASS + r"): (.*)", message, re.S)
        if found:
            fields["class"], fields["message"] = innermost(found.group(1), found.group(2))
    return Line("request", _STRANGE.sub("", head) + (message[error.start() :] if error else ""), severity, rid, "", when, fields)


def _report(message: str, severity: str, rid: str, when: Optional[float]) -> Line:
    """A line of an exception block, or any other message."""
    report = message.rstrip()
    cause = _CAUSE.match(report)
    if cause:
        return Line("cause", message, severity, rid, "", when, _named(cause.group(1), cause.group(2)))
    head = _HEAD.match(report[1:] if report[:1] == " " else report)
    if head and _NAMED.match(head.group(1)) and (rid or head.group(3) or "::" in head.group(1)):
        return Line("exception", message, severity, rid, "", when, _named(head.group(1), head.group(2)))
    located = frame(message)
    if located is not None:
        return Line("frame", message, severity, rid, "", when, {"frame": located})
    unrescued = _RACK.match(report) if "Rack app" in report[:40] else None
    if unrescued:
        return Line("exception", message, "error", rid, "", when, dict(_named(*unrescued.groups()), single=True))
    death = _RUBY_DEATH.match(message) or _UNLOADABLE.match(message.partition("] ")[2] if message[:1] == "[" else message)
    if death:
        if death.re is _RUBY_DEATH:
            fields = _named(death.group(3), death.group(2))
            where = frame(death.group(1))
            return Line("exception", message, "fatal", rid, "", when, dict(fields, **({"frame": where} if where else {}), single=True))
        return Line("exception", message, "fatal", rid, "", when, dict(_named(death.group(1), death.group(2)), single=True))
    if message.startswith(_STRANGE_LINES):
        said = message if _COLUMNS_OF.match(message) else detail(message)
        return Line("text" if said else "statement", said, severity, rid, "", when)
    performed = _PERFORMED.match(message)
    if performed:
        said = _PERFORMED_END.sub("", performed.group(3).rstrip())
        fields = dict(_named(performed.group(2), said), job=performed.group(1), single=True)
        return Line("exception", message, "error", "", "", when, fields)
    again = _AGAIN.match(message)
    if again:  # Rails 7.1 and newer, before details of an error that it has counted in the lines above
        return Line("text", "{class}: {message}".format(**_named(*again.groups())), severity, rid, "", when)
    reported = _REPORTED.match(report)
    if reported:
        return Line("exception", message, severity, rid, "", when, dict(_named(reported.group(2), reported.group(1)), single=True))
    listed = _LISTED.match(message)
    if listed and _NAMED.match(listed.group(1)):
        return Line("exception", message, severity, rid, "", when, dict(_named(*listed.groups()), single=True))
    return Line("text", message, severity, rid, "", when)


def frame(text: str) -> Optional[str]:
    """``app/models/status.rb:12`` of a backtrace line of the application; "" for a line of a gem, None when it is no backtrace line."""
    if len(text) > 1000:
        return None
    match = _FRAME.match(text)
    if match and not _FOREIGN.search(match.group(1) + match.group(2)):
        return f"{match.group(2)}:{match.group(3)}"
    return "" if match or _ANY_FRAME.match(text) else None


def innermost(name: str, message: str) -> tuple[str, str]:
    """A wrapper quotes its cause as ``PG::UndefinedColumn: ERROR: …``: then that is the class and message."""
    for _level in range(4):
        inner = _INNER.match(message) if message else None
        if inner is None or not (inner.group(1) == name or ("::" in inner.group(1) and _WRAPPER.match(name))):
            break
        name, message = inner.groups()
    return name, message


def _named(name: str, message: str) -> Dict[str, Any]:
    found, inner = innermost(name, message)
    return {"class": found, "message": inner}


def sidekiq(text: str) -> Line:
    """Sidekiq's formatters; a line without its prefix is a backtrace line or one of Rails."""
    match = _KIQ.match(text)
    if match is None:
        bare = _KIQ_BARE.match(text)
        if bare:
            return _said("", bare.group(1), text[bare.end() :], "", None)
        line = rails(text)
        return line if line.kind != "exception" or line.fields.get("single") else line._replace(kind="more")
    word, stamp, digits, tid = match.groups()
    base = epoch(stamp, "Z") if stamp else None
    when = None if base is None else base + fraction(digits)
    rest = text[match.end() :]
    if word:
        context, colon, message = rest.partition(": ")
        if not colon or (context and "=" not in context.partition(" ")[0]):
            context, message = "", rest
    else:
        after = _KIQ_AFTER.match(rest)
        if after is None:
            return Line("text", rest, "", "", tid, when)
        context, word, message = after.groups()
    if "context=" in rest[:400] and not message.startswith("{"):
        return _raised(rest, word.lower(), tid, when)
    return _said(context or "", word, message, tid, when)


def _said(context: str, word: str, message: str, tid: str, when: Optional[float]) -> Line:
    severity = word.lower()
    found = _JID.search(context)
    jid = found.group(1) if found else ""
    start = message.partition(":")[0].strip()
    if start in ("start", "done", "fail") and (jid or "class=" in context):
        named = _JOB_CLASS.search(context)
        name = named.group(1) if named else context.partition(" ")[0]
        return Line("job", "", severity, jid, tid, when, {"class": name, "word": start})
    if message.startswith(_JOB_JSON):
        return _raised(message, severity, tid, when)
    located = frame(message)
    if located is not None:
        return Line("frame", message, severity, jid, tid, when, {"frame": located})
    inner = re.match("(" + _CLASS + r"): (.*)", message, re.S)
    if inner and severity in ("warn", "error", "fatal") and _NAMED.match(inner.group(1)):
        return Line("exception", message, severity, jid, tid, when, _named(inner.group(1), inner.group(2)))
    return Line("text", message, severity, jid, tid, when)


def _raised(message: str, severity: str, tid: str, when: Optional[float]) -> Line:
    """``Job raised exception``: JSON (Sidekiq 5 to 7; the error follows in lines of its own) or a Ruby hash with the error after it (8)."""
    found = _JID.search(message)
    jid = found.group(1) if found else ""
    named = _WRAPPED.search(message) or _JOB_CLASS.search(message)
    fields: Dict[str, Any] = {"class": named.group(1) if named else "", "word": "raised"}
    if message.startswith("{"):
        try:
            record = json.loads(message)
            job = record.get("job") or record  # Sidekiq 4 and older: the job itself
            fields["class"] = str(job.get("wrapped") or job.get("class") or fields["class"])
            jid = str(job.get("jid") or jid)[:40]
            error = f"{job.get('error_class')}: {job.get('error_message') or ''}"[:LIMIT] if job.get("error_class") else ""
        except (ValueError, AttributeError, RecursionError):  # cut off
            pair = _ERROR_PAIR.search(message)
            error = f"{pair.group(2)}: {pair.group(1)}" if pair else ""
        return Line("job", error, severity, jid, tid, when, fields)
    tail = _TAIL.match(message[message.rfind("}: ") + 3 :]) if "}: " in message else None
    if tail:
        text = f"{tail.group(2)}: {tail.group(1)}"
        fields = dict(_named(tail.group(2), tail.group(1)), job=fields["class"], single=True)
        return Line("exception", text, severity, jid, tid, when, fields)
    return Line("job", "", severity, jid, tid, when, fields)


def streaming(text: str) -> Line:
    """Node: pino JSON (4.3+), npmlog (4.2 and older), or what Node prints when it dies."""
    if text.startswith("{"):
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            return _pino(record)
        if text.startswith('{"'):  # cut off, or not pino's: nobody can tell whose words are in it
            return Line("text", "")
    match = _NPM.match(text)
    if match:
        severity = _SEVERITIES.get(match.group(1), match.group(1).lower())
        message, rid = match.group(2).strip(), ""
        tagged = _UUID.match(message)
        if tagged:
            rid, message = tagged.groups()
        error = _NODE_ERROR.match(message)
        if error and severity == "error":
            return Line("exception", message, severity, rid, "", None, {"class": error.group(1), "message": error.group(2), "single": True})
        return Line("text", message, severity, rid)
    error = _NODE_ERROR.match(text)
    if error:
        return Line("exception", text, "fatal", "", "", None, {"class": error.group(1), "message": error.group(2), "single": True})
    if text.lstrip(" ").startswith("at "):
        return Line("frame", text, fields={"frame": _own_frame(text)})
    return Line("text", text)


def _own_frame(text: str) -> str:
    """streaming/index.js:283, where a line of a backtrace of Node is in Mastodon's own files; else empty."""
    place = _NODE_FRAME.search(text)
    return place.group(1) if place else ""


def _pino(record: Dict[str, Any]) -> Line:
    level = record.get("level")
    severity = _PINO.get(level, "") if isinstance(level, int) else str(level)[:10]
    stamp = record.get("time")
    when = stamp / 1000.0 if isinstance(stamp, (int, float)) and 0 < stamp < 1e14 else None
    message = str(record.get("msg") or "")[:LIMIT]
    request = record.get("req")
    rid = str(request.get("id") or "")[:255] if isinstance(request, dict) else ""
    error = record.get("err") or record.get("error")
    if not isinstance(error, dict):
        if isinstance(request, dict) and severity in ("info", "debug"):
            return Line("access", "", severity, rid, "", when)
        return Line("text", message, severity, rid, "", when)
    name = str(error.get("type") or error.get("name") or "Error")[:100]
    inner = str(error.get("message") or "")
    nested = error.get("aggregateErrors") or error.get("errors")
    if not inner and isinstance(nested, list):  # AggregateError says nothing by itself
        inner = "; ".join(str(one.get("message", "")) for one in nested[:4] if isinstance(one, dict))
    code = str(error.get("code") or "")[:60]
    inner = inner[:LIMIT]
    text = f"{message} {name}: {inner}" + (f" [{code}]" if code and code not in inner else "")
    fields = {"class": name, "message": inner or code or message, "single": True}
    frame_of_it = _own_frame(str(error.get("stack") or "")[:LIMIT])
    return Line("exception", text, severity, rid, "", when, dict(fields, frame=frame_of_it) if frame_of_it else fields)
