# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the hosts tell of a request, merged: traces of mastodon_trace_info in, the instance's out. Pure. Private to this collection."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.fediops.mastodon.plugins.module_utils._gather import NAMES
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _diagnosis
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import KnownIssue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line
from ansible_collections.fediops.mastodon.plugins.plugin_utils._trace.clocks import ahead, offset_of

SCHEMA = 1
MOST_LINES = 20000
TEXT_LIMIT = 1200
_TEXTS = ("origin", "name", "link", "text", "severity", "job", "upstream_status")
_NOT_APPLICATION = ("502", "503", "504", "-", "")

Trace = dict[str, t.Any]


def merge(
    request_id: str,
    traces: t.Mapping[str, Trace],
    missing: t.Mapping[str, str],
    catalogue: t.Mapping[str, KnownIssue],
    now: float,
    run: dict[str, t.Any],
) -> Trace:
    """The trace of the instance; its shape is in docs/trace.md. ``missing``: hosts that could not be looked at, and why."""
    traces = {name: _clean(trace) for name, trace in traces.items()}
    hosts: dict[str, Trace] = {name: _host(trace) for name, trace in traces.items()}
    hosts.update({name: {"state": "failed", "reason": clean_line(reason, 1000), "sources": []} for name, reason in missing.items()})
    seen = {name: trace for name, trace in traces.items() if trace.get("state") == "ok"}
    lines = [_line(name, line) for name, trace in seen.items() for line in trace.get("lines", ())]
    lines.sort(key=lambda line: (moment(line["time_epoch"]), list(seen).index(line["host"])))
    left_out = sum(int(trace.get("left_out", 0)) for trace in seen.values()) + max(0, len(lines) - MOST_LINES)
    requests = [
        {**one, "host": name} for name, trace in seen.items() for one in (trace.get("clues") or {}).get("requests", ())
        if one.get("origin") == "web"
    ]  # fmt: skip
    merged: Trace = {
        "schema": SCHEMA,
        "run": run,
        "request_id": request_id,
        "state": _state(request_id, lines, requests, seen),
        "since_epoch": min((float(trace["since_epoch"]) for trace in seen.values()), default=now),
        "until_epoch": now,
        "hosts": dict(sorted(hosts.items())),
        "requests": sorted(requests, key=lambda one: float(one["end"])),
        "lines": lines[:MOST_LINES],
        "left_out": left_out,
        "stacks": sorted(
            ({**stack, "host": name} for name, trace in seen.items() for stack in trace.get("stacks", ())),
            key=lambda stack: float(stack["time_epoch"]),
        ),
        "jobs": sorted({str(job) for trace in seen.values() for job in (trace.get("clues") or {}).get("jobs", ())}),
        "unanswered": sorted(
            ({**one, "host": name} for name, trace in seen.items() for one in trace.get("unanswered", ())),
            key=lambda one: -float(one["time_epoch"]),
        ),
        "clocks": _clocks(traces, {line["host"] for line in lines}),
    }
    diagnosis = _diagnosis.diagnose({"request": _facts(seen, now)}, catalogue, now=now, run=run)["hosts"]["request"]
    merged["findings"] = diagnosis["findings"]
    merged["noise"] = diagnosis.get("noise", [])
    merged["unclassified"] = diagnosis.get("unclassified", [])
    return merged


def moment(time: float) -> float:
    """Where a line stands in time: one without fractions of a second comes behind the others of its second."""
    return time + 0.999999 if time == int(time) else time


def incomplete(merged: Trace) -> dict[str, str]:
    """Hosts whose logs were not or not wholly read, and why."""
    found = {}
    for name, host in merged["hosts"].items():
        if host["state"] != "ok":
            found[name] = str(host.get("reason") or host["state"])
            continue
        cut = [source for source in host["sources"] if source.get("truncated")]
        if cut:
            more = f" and {len(cut) - 1} more" if len(cut) > 1 else ""
            found[name] = f"{clean_line(cut[0]['name'], 120)}{more}: {clean_line(cut[0].get('reason', ''), 300)}"
            if isinstance(cut[0].get("oldest_epoch"), (int, float)):
                back = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(cut[0]["oldest_epoch"]))
                found[name] += f", read back to {back} only; -e mastodon_trace_timeout=600 gives it more time"
    return found


def _state(request_id: str, lines: list[Trace], requests: list[Trace], seen: t.Mapping[str, Trace]) -> str:
    """answered reached streaming answered_elsewhere never_reached proxy_only not_found; without an id: made_by_proxy nothing; unknown."""
    if not seen:
        return "unknown"
    if not request_id:
        return "made_by_proxy" if any(trace.get("unanswered") for trace in seen.values()) else "nothing"
    if requests:
        return "answered"
    mine = [line for line in lines if line["link"] == "id"]
    for origin, state in (("web", "reached"), ("streaming", "streaming")):
        if any(line["origin"] == origin for line in mine):
            return state
    proxied = [line for line in mine if line["origin"] == "proxy" and "status" in line]
    if any("upstream_status" in line and _last(line) not in _NOT_APPLICATION for line in proxied):
        return "answered_elsewhere"
    if any(("upstream_status" in line and _last(line) in _NOT_APPLICATION) or line["status"] in (502, 504) for line in proxied):
        return "never_reached"
    return "proxy_only" if proxied else "reached" if mine else "not_found"


def _last(line: Trace) -> str:
    """Status of the last upstream that was asked."""
    return str(line["upstream_status"]).replace(":", ",").rpartition(",")[2].strip()


def _host(trace: Trace) -> Trace:
    told: Trace = {key: trace[key] for key in ("state", "roles", "left_out") if key in trace}
    told["sources"] = list(trace.get("sources", ()))
    if trace.get("reason"):
        told["reason"] = clean_line(trace["reason"], 400)
    pair = offset_of(trace)
    if pair is not None:
        told["clock_offset_seconds"] = [round(pair[0], 3), round(pair[1], 3)]
    return told


def _clean(value: t.Any) -> t.Any:
    """Made safe to show: a host that somebody else owns can answer what it likes."""
    if isinstance(value, str):
        return clean_line(value, TEXT_LIMIT)
    if isinstance(value, dict):
        return {clean_line(key, 300): _clean(one) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list) else value


def _line(host: str, line: Trace) -> Trace:
    told: Trace = {"host": host, "time_epoch": float(line["time_epoch"])}
    told.update({key: str(line[key]) for key in _TEXTS if line.get(key) is not None})
    told.update({key: line[key] for key in ("pid", "of", "status") if isinstance(line.get(key), int)})
    return told


def _clocks(traces: t.Mapping[str, Trace], named: set[str]) -> list[Trace]:
    """Pairs of hosts with lines here whose clocks differ for sure: {ahead behind seconds}."""
    found = []
    names = sorted(named)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            seconds = ahead(offset_of(traces[one]), offset_of(traces[other]))
            if seconds:
                first, second = (one, other) if seconds > 0 else (other, one)
                found.append({"ahead": first, "behind": second, "seconds": round(abs(seconds), 3)})
    return found


def _facts(seen: t.Mapping[str, Trace], now: float) -> Trace:
    """What the lines of all hosts show, as facts from log lines alone (docs/facts.md, section 4)."""
    logs: Trace = {"alone": True, "since_epoch": now, "until_epoch": now, "sources": [], "signatures": {}, "exceptions": [], "remotes": {}}
    install: Trace = {}
    for trace in seen.values():
        counted = trace.get("logs") or {}
        for key in ("requests", "posts", "jobs"):
            logs.setdefault(key, counted.get(key, {}))
        logs["exceptions"] += counted.get("exceptions", ())
        for kind, told in (counted.get("remotes") or {}).items():
            known = logs["remotes"].setdefault(kind, {"hosts": 0, "count": 0})
            for key in ("hosts", "count"):
                known[key] += int(told.get(key, 0))
        for name, told in (counted.get("signatures") or {}).items():
            known = logs["signatures"].get(name)
            if known is None:
                logs["signatures"][name] = dict(told)
                continue
            known["count"] += told["count"]
            known["first_epoch"] = min(known["first_epoch"], told["first_epoch"])
            known["last_epoch"] = max(known["last_epoch"], told["last_epoch"])
            known["samples"] = [*known["samples"], *told["samples"]][:3]
        if (trace.get("install") or {}).get("version"):
            install = {key: value for key, value in trace["install"].items() if key in ("version", "deployment", "root", "owner")}
    probes: Trace = {name: {"state": "skipped", "seconds": 0.0, "reason": "only the lines of one request were read"} for name in NAMES}
    probes["logs"] = {"state": "ok", "seconds": 0.0}
    return {"schema": 1, "time_epoch": now, "host": {"name": "request"}, "install": install, "probes": probes, "logs": logs}
