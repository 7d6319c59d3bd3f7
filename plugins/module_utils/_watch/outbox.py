# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices on their way: kept until every channel took them, for a day at most (private, may change any time)."""

from __future__ import annotations

import sys
import time

from typing import Any, Dict, Iterable, List, Mapping

from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import side_by_side
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.channels import SECONDS, plain, senders

KEPT_SECONDS = 86400.0
MOST_NOTICES = 100
RUN_SECONDS = 60.0
CHANNELS = ("command", "mail", "webhook")


def put(state: Dict[str, Any], notices: Iterable[Dict[str, Any]], host: str, settings: Mapping[str, Any]) -> None:
    """Write down what is to be told, and by which channels."""
    box: List[Dict[str, Any]] = state.setdefault("outbox", [])
    channels = [name for name in CHANNELS if settings.get("channels", {}).get(name)]
    for notice in notices:
        box.append({"notice": dict(notice, host=notice.get("host") or host), "pending": list(channels)})
        # The journal always hears of it, whatever the channels do.
        sys.stdout.write("%s %s: %s %s\n" % (
            notice["event"], plain(notice["id"]), plain(notice["issue"]), " ".join(notice["request_ids"][:3])))
    del box[:-MOST_NOTICES]


def deliver_all(state: Dict[str, Any], settings: Mapping[str, Any], secrets: Mapping[str, Any]) -> List[str]:
    """Send what waits, in its order; sentences about what did not work. What failed is tried again by the next pass."""
    end = time.monotonic() + RUN_SECONDS
    problems = []
    broken = set()
    for entry in state.get("outbox", ()):
        ways = {
            name: way
            for name, way in senders(settings, secrets, entry["notice"]).items()
            if name in entry["pending"] and name not in broken
        }
        entry["pending"] = [name for name in entry["pending"] if settings.get("channels", {}).get(name)]
        if not ways or time.monotonic() + SECONDS > end:
            continue
        # A command that ignores its end is killed five seconds later.
        outcomes = side_by_side(ways, dict.fromkeys(ways, time.monotonic() + SECONDS + 7))
        for name, outcome in outcomes.items():
            if outcome.state == "ok":
                entry["pending"].remove(name)
            else:
                broken.add(name)  # in its order, or not at all
                problems.append("channel %s did not take alert %s: %s" % (name, entry["notice"]["id"], outcome.reason))
    state["outbox"] = [
        entry for entry in state.get("outbox", ()) if entry["pending"] and time.time() - entry["notice"]["time_epoch"] < KEPT_SECONDS
    ]
    return problems
