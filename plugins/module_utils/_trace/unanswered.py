# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that the proxy made itself: they have no X-Request-Id, and Mastodon knows of the request nothing or not the end."""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._lines import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import strip_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ansible_collections.fediops.mastodon.plugins.module_utils._line import Line
    from ansible_collections.fediops.mastodon.plugins.module_utils._trace.record import Record

NEEDLES = (
    *(b'upstream: "', b"no live upstreams", b'" 500 ', b'" 502 ', b'" 503 ', b'" 504 '),  # nginx
    *(b"AH00957", b"AH00959", b"AH01102", b"AH00898", b"http.log.error"),  # Apache, Caddy
)
MOST = 20
SAME_SECONDS = 2.0  # a line of the access log comes this long after that of the error log at most
_ASKED = re.compile(r', request: "([A-Z]{1,20}) ([^ "?]*)')
_ABOUT = re.compile(r", (?:client|server|upstream): ")  # what follows says of which request
_NEVER = re.compile(r"while connecting to upstream|no live upstreams|host not found|dial tcp|could not be resolved|AH0095[79]")
_BEGAN = re.compile(r"upstream|AH01102|AH00898|EOF|timeout")


def answers(records: Iterable[Record], foreign: Callable[[Mapping[str, Any]], bool] | None) -> tuple[list[dict[str, Any]], list[Record]]:
    """The newest such answers {time_epoch method path status? said? state}, newest first, and their lines.

    state: never_reached (no process of Mastodon took the request), no_answer (one took it and gave no answer in time), by_proxy (an access
    log says that no answer of Mastodon was passed on, and no error tells why).
    """
    found: list[dict[str, Any]] = []
    lines: list[Record] = []
    access: list[tuple[Record, Line]] = []
    for record in sorted(records, key=lambda one: one.time):
        if record.origin != "proxy":
            continue
        text = strip_controls(record.text)
        line = parse("proxy", text)
        if line.kind == "access":
            if line.fields["status"] >= 500:
                access.append((record, line))
            continue
        said = _ABOUT.split(line.text)[0]
        state = "never_reached" if _NEVER.search(said) else "no_answer" if _BEGAN.search(said) else ""
        if not state or line.severity not in ("error", "fatal") or (foreign is not None and line.fields and foreign(line.fields)):
            continue
        asked = _ASKED.search(text)
        event = {"time_epoch": record.time, "said": said, "state": state}
        if asked:
            event.update(method=asked.group(1), path=asked.group(2))
        found.append(event)
        lines.append(record)
    for record, line in access:
        method, path = line.fields["method"], line.fields["path"].partition("?")[0]
        match = next((event for event in found if "method" in event and (event["method"], event["path"]) == (method, path)
                      and -1.0 <= record.time - event["time_epoch"] <= SAME_SECONDS and "status" not in event), None)  # fmt: skip
        if match is not None:
            match["status"] = line.fields["status"]
        elif line.id == "-":
            found.append({"time_epoch": record.time, "state": "by_proxy", "method": method, "path": path, "status": line.fields["status"]})
        else:
            continue
        lines.append(record)
    found.sort(key=lambda event: -float(event["time_epoch"]))
    oldest = min((event["time_epoch"] for event in found[:MOST]), default=0.0) - SAME_SECONDS
    return found[:MOST], [record for record in lines if record.time >= oldest]
