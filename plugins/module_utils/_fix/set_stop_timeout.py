# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TimeoutStopSec= for units of Sidekiq that systemd would kill before Sidekiq has given its unfinished jobs back to Redis.

Option: `seconds` (60; at least Sidekiq's own timeout and five more). Nothing is restarted: systemd asks for the time when it stops a unit.
"""

from __future__ import annotations

from ansible_collections.fediops.mastodon.plugins.module_utils._change import drop_in, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.services import time_span

TOPIC = "stop-timeout"
MARGIN_SECONDS = 5  # after its own timeout Sidekiq still writes the jobs to Redis
LEAST_SECONDS, MOST_SECONDS = 10, 3600


def fix(change: Change) -> None:
    asked = _app.number_of(change, "seconds", 60, LEAST_SECONDS, MOST_SECONDS)
    for unit in change.units("sidekiq"):
        if not unit["stop_short"] or not (unit["intended"] or "pid" in unit):
            continue
        drop_in.refuse_when_outdone(change, unit["name"], TOPIC, r"\s*Timeout(?:Stop)?Sec\s*=", "TimeoutStopSec")
        drop_in.write(change, unit["name"], TOPIC, ["TimeoutStopSec=%d" % max(asked, unit["shutdown_timeout_seconds"] + MARGIN_SECONDS)])


def check(change: Change) -> str:
    for unit in change.units("sidekiq"):
        allowed = time_span(units.properties(change.host, unit["name"], "TimeoutStopUSec").get("TimeoutStopUSec", ""))
        if (unit["intended"] or "pid" in unit) and allowed is not None and allowed <= unit["shutdown_timeout_seconds"]:
            return "systemd still kills %s after %d s" % (unit["name"], allowed)
    return ""
