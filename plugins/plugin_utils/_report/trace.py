# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A trace as the terminal shows it: what became of the request, why, the stack, then every line. Private to this collection."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import view
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.terminal import Page
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.texts import text as report_text
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.trace_texts import text
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line, human_duration

Trace = dict[str, t.Any]
_MOST_LINES = 120
_MOST_STACKS = 5
_MOST_FRAMES = 12
_GAVE_UP = (502, 504)
_BAD = ("not_found", "never_reached", "proxy_only", "unknown")


def conclusion(trace: Trace, language: str) -> list[str]:
    """What became of the request, and what this trace cannot tell, a sentence or two each."""
    state = trace["state"]
    values: dict[str, object] = {"since": stamp(trace["since_epoch"], day=True)}
    told = []
    if state == "answered":
        last = trace["requests"][-1]
        what = f"{last.get('method', '?')} {last.get('path', '?')}"
        if last.get("controller"):
            what += f" ({last['controller']}#{last.get('action', '?')}, {human_duration(last['end'] - last['start'])})"
        values.update(status=last.get("status", "?"), what=clean_line(what, 300), host=last["host"], when=stamp(last["end"], day=True))
    told.append(text(state, language, **values))
    if state == "answered" and trace["requests"][-1].get("status") not in _GAVE_UP:
        told += [text("gave_up", language, status=line["status"]) for line in trace["lines"]
                 if line["origin"] == "proxy" and line["link"] in ("id", "request") and line.get("status") in _GAVE_UP][:1]  # fmt: skip
    if len(trace["requests"]) > 1:
        told.append(text("again", language, n=len(trace["requests"])))
    if trace["jobs"]:
        told.append(text("jobs_named", language, jobs=", ".join(trace["jobs"])))
    elif state == "answered" and trace["requests"][-1].get("method") not in ("GET", "HEAD", "OPTIONS"):
        told.append(text("jobs_none", language))
    web = any("web" in host.get("roles", ()) for host in trace["hosts"].values())
    if state in ("not_found", "proxy_only", "answered_elsewhere") and not web:
        told.append(text("no_web", language))
    for pair in trace["clocks"]:
        told.append(text("clock", language, ahead=pair["ahead"], behind=pair["behind"], seconds=human_duration(pair["seconds"])))
    if any(source.get("newest_only") for host in trace["hosts"].values() for source in host["sources"]):
        told.append(text("newest_only", language))
    if trace["left_out"]:
        told.append(text("left_out", language, n=trace["left_out"]))
    return told


def render(trace: Trace, gaps: t.Mapping[str, str], *, language: str, width: int, colour: bool, where: str = "") -> str:
    """The whole text, ending with where the report lies. ``gaps``: hosts whose logs were not wholly read, and why."""
    page = Page(language, max(60, min(width, 160)), colour, trace["run"])
    name = trace["request_id"] or text("no_id", language)
    first, *rest = conclusion(trace, language)
    page.line(page.paint("bold", f"{text('request', language)} {clean_line(name, 255)}"))
    bad = trace["state"] in _BAD or any(int(one.get("status") or 0) >= 500 for one in trace["requests"])
    page.wrapped(f"  {page.paint('faults' if bad else 'clear', 'x' if bad else '-')} ", 4, first)
    for told in rest:
        page.wrapped("    ", 4, told)
    for host, reason in gaps.items():
        page.wrapped(f"  {page.paint('unknown', '?')} ", 4, f"{clean_line(host, 80)}: {text('not_read', language)}: {reason}")
    _causes(page, trace, language)
    for event in trace["unanswered"]:
        what = " ".join(str(event[key]) for key in ("status", "method", "path") if key in event)
        why = f": {event['said']}" if event.get("said") else ""
        start = f"  {stamp(event['time_epoch'])}  {clean_line(event['host'], 40)}  "
        page.wrapped(start, len(start), clean_line(f"{what}  {text('state_' + event['state'], language)}{why}"))
    for stack in trace["stacks"][:_MOST_STACKS]:
        _stack(page, stack, language)
    _lines(page, trace, language, where)
    if where:
        page.line("")
        page.line(report_text("report_in", language, where=clean_line(where)))
    return "\n".join(page.lines)


def stamp(epoch: float, *, day: bool = False) -> str:
    """UTC; without fractions of a second where the log has none."""
    moment = time.gmtime(epoch)
    if day:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", moment)
    return time.strftime("%H:%M:%S", moment) + (f"{epoch % 1:.3f}"[1:] if epoch % 1 and f"{epoch % 1:.3f}" < "1" else "    ")


def _causes(page: Page, trace: Trace, language: str) -> None:
    shown = [finding for finding in trace["findings"] if finding["rank"] == 1]
    width = max((len(finding["id"]) for finding in shown), default=0)
    for finding in shown:
        page.finding(finding, width, {one["id"]: one for one in trace["findings"]}, "")
    if not shown and trace["stacks"]:
        page.wrapped(f"  {page.paint('unclassified', '?')} ", 4, text("nobody_knows", language))
    for error in view.errors_of({"unclassified": trace["unclassified"]}):
        page.wrapped("    ", 4, error)


def _stack(page: Page, stack: Trace, language: str) -> None:
    job = f" ({text('in_job', language, job=stack['job'])})" if stack.get("job") else ""
    start = f"  {text('stack', language)}  "
    page.wrapped(page.paint("bold", start), len(start), f"{stack['class']}: {stack['message']}{job}")
    for one in [stack, *stack["causes"]]:
        if one is not stack:
            page.wrapped("    ", 6, f"{text('caused', language)} {one['class']}: {one['message']}")
        for frame in one["frames"][:_MOST_FRAMES]:
            page.line(f"      {clean_line(frame, 200)}")
        if len(one["frames"]) > _MOST_FRAMES:
            page.line("      " + report_text("and_more", language, n=len(one["frames"]) - _MOST_FRAMES))


def _lines(page: Page, trace: Trace, language: str, where: str) -> None:
    lines = trace["lines"]
    if not lines:
        return
    page.line("")
    page.line(page.paint("dim", text("times", language)))
    hosts = max(len(clean_line(line["host"], 40)) for line in lines)
    several = len(trace["hosts"]) > 1
    for line in lines[:_MOST_LINES]:
        word = text(f"link_{line['link']}", language) if f"link_{line['link']}" in _LINKS else ""
        if word and line.get("of", 1) > 1:
            word = text("one_of", language, link=word, n=line["of"])
        start = f"{stamp(line['time_epoch'])}  " + (f"{clean_line(line['host'], 40).ljust(hosts)}  " if several else "")
        start += f"{clean_line(line['origin'], 9):<9}  "
        page.wrapped(page.paint("dim", start), len(start), (f"({word}) " if word else "") + clean_line(line["text"], 1000))
    if len(lines) > _MOST_LINES:
        page.line(text("more_lines", language, n=len(lines) - _MOST_LINES, where=where or "trace.json"))


_LINKS = frozenset(f"link_{link}" for link in ("id", "block", "proxy", "job", "error", "request", "time"))
