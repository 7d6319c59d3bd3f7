# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file for the textfile collector of Prometheus' node_exporter (private, may change any time)."""

from __future__ import annotations

import os

from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Attributes
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.conditions import CLEAR, FIRING, QUIET, Condition
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.forecast import hours_until_full

PREFIX = "fediops_mastodon_"
FILE = "fediops_mastodon.prom"
Sample = Tuple[Mapping[str, Any], float]


class Metrics:
    """Collects samples by metric; ``text`` is the exposition format."""

    def __init__(self) -> None:
        self._metrics: Dict[str, Tuple[str, str, List[Sample]]] = {}

    def add(self, name: str, kind: str, what: str, value: float, **labels: Any) -> None:
        self._metrics.setdefault(PREFIX + name, (kind, what, []))[2].append((labels, value))

    def text(self) -> str:
        lines = []
        for name, (kind, what, samples) in self._metrics.items():
            lines += ["# HELP %s %s" % (name, what), "# TYPE %s %s" % (name, kind)]
            for labels, value in samples:
                inside = ",".join('%s="%s"' % (key, _escaped(each)) for key, each in labels.items())
                lines.append("%s%s %s" % (name, "{%s}" % inside if inside else "", repr(float(value))))
        return "\n".join(lines) + "\n"


def watched(facts: Dict[str, Any], conditions: Iterable[Condition], state: Mapping[str, Any], seconds: float) -> Metrics:
    """The metrics of one pass. Counters come from the state, which adds up the passes."""
    metrics = Metrics()
    metrics.add("watch_last_success_timestamp_seconds", "gauge", "When the watch last finished a pass.", facts["time_epoch"])
    metrics.add("watch_duration_seconds", "gauge", "How long that pass took.", round(seconds, 3))
    totals = state.get("totals", {})
    for key in ("requests", "proxy_requests"):
        for status, count in sorted(totals.get(key, {}).items()):
            metrics.add(
                key + "_total",
                "counter",
                "Answers by status, of %s." % ("Mastodon" if key == "requests" else "the proxy"),
                count,
                status=status,
            )
    for key, what in (("posts", "Attempts to post."), ("posts_failed", "Posts answered 5xx.")):
        metrics.add(key + "_total", "counter", what, totals.get(key, 0))
    for issue, count in sorted(totals.get("lines", {}).items()):
        metrics.add("known_issue_log_lines_total", "counter", "Log lines that a signature of this known issue matches.", count, issue=issue)
    sidekiq = facts.get("sidekiq", {})
    for queue in sidekiq.get("queues", ()):
        metrics.add("sidekiq_latency_seconds", "gauge", "Age of the oldest job of a queue.", queue["latency_seconds"], queue=queue["name"])
    for queue in sidekiq.get("queues", ()):
        metrics.add("sidekiq_jobs", "gauge", "Jobs that wait in a queue.", queue["size"], queue=queue["name"])
    for key in ("retry_size", "dead_size"):
        if key in sidekiq:
            metrics.add("sidekiq_" + key, "gauge", "Jobs in the set %s." % key[:-5], sidekiq[key])
    for each in facts.get("disk", {}).get("filesystems", ()):
        metrics.add(
            "filesystem_available_bytes",
            "gauge",
            "Free bytes of a filesystem Mastodon needs.",
            each["available_bytes"],
            mount=each["mount"],
        )
    for each in facts.get("disk", {}).get("filesystems", ()):
        hours = hours_until_full(state.get("disk", {}).get(each["mount"], ()), each["size_bytes"])
        if hours is not None:
            metrics.add(
                "filesystem_full_in_hours",
                "gauge",
                "Hours until it is full when it goes on like this.",
                round(hours, 1),
                mount=each["mount"],
            )
    for issue, found in sorted(_by_issue(conditions).items()):
        metrics.add("finding", "gauge", "Whether this known issue is found (1) or not (0).", found, issue=issue, source="watch")
    return metrics


def write(directory: str, text: str, file: str = FILE) -> None:
    """At once: the collector never sees half a file."""
    disk.write(os.path.realpath(directory) + "/" + file, text.encode(), Attributes(os.geteuid(), os.getegid(), 0o644, 0, ""))


def _by_issue(conditions: Iterable[Condition]) -> Dict[str, int]:
    """1 found, 0 not; what is unknown is left out. A forecast is no finding, it has a metric of its own."""
    found: Dict[str, int] = {}
    for each in conditions:
        state: Optional[int] = {FIRING: 1, CLEAR: 0, QUIET: 0}.get(each.state)
        if state is not None and each.key != "disk_forecast":
            found[each.issue] = max(state, found.get(each.issue, 0))
    return found


def _escaped(text: Any) -> str:
    return str(text)[:200].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
