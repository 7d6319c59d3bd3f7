# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alert rules of Prometheus, made from the catalogue of known issues. Private to this collection."""

from __future__ import annotations

import typing as t

import yaml

from ansible_collections.fediops.mastodon.plugins.plugin_utils._catalogue import Catalogue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import KnownIssue

_HEAD = "# Made from the known issues of fediops.mastodon by its lookup plugin alert_rules; changes are lost.\n"
_FINDING = 'max by (instance, host) (fediops_mastodon_finding{issue="%s", rank=~"1|"}) == 1'  # rank: only the diagnosis knows it


def text(catalogue: Catalogue, stale_minutes: int, diagnosis_stale_hours: int) -> str:
    """A rules file: a rule for each known issue, and rules for a watch or a diagnosis that stopped."""
    rules = [
        _rule(
            "Mastodon" + "".join(word.capitalize() for word in issue.id.split("_")),
            _FINDING % issue.id,
            issue.severity,
            {"summary": _summary(issue), "runbook_url": issue.sources[0]["url"] if issue.sources else ""},
            component=issue.component,
            issue=issue.id,
        )
        for issue in catalogue.values()
        if issue.severity != "advice"
    ]
    rules += [
        _rule(
            "MastodonDiskFullSoon",
            "min by (instance, mount) (fediops_mastodon_filesystem_full_in_hours) < 24",
            "warning",
            {"summary": "A filesystem that Mastodon needs will be full within a day"},
            component="disk",
        ),
        _rule(
            "MastodonWatchStopped",
            f"time() - fediops_mastodon_watch_last_success_timestamp_seconds > {stale_minutes * 60}",
            "error",
            {"summary": "The watch over Mastodon has stopped: journalctl -u fediops-mastodon-watch"},
        ),
        _rule(
            "MastodonDiagnosisStopped",
            f"time() - fediops_mastodon_diagnosis_last_success_timestamp_seconds > {diagnosis_stale_hours * 3600}",
            "warning",
            {"summary": "The full diagnosis of Mastodon has stopped: journalctl -u fediops-mastodon-diagnose"},
        ),
    ]
    return _HEAD + yaml.safe_dump({"groups": [{"name": "fediops.mastodon", "rules": rules}]}, sort_keys=False, width=140)


def _rule(name: str, expression: str, severity: str, annotations: dict[str, str], **labels: str) -> dict[str, t.Any]:
    return {
        "alert": name,
        "expr": expression,
        "labels": {"severity": severity, **labels},
        "annotations": {key: value for key, value in annotations.items() if value},
    }


def _summary(issue: KnownIssue) -> str:
    """The words of a title before its first expression: Prometheus knows no facts, and would take braces for its own."""
    words = str(issue.title.get("en", "")).split("{", 1)[0].strip(" :,(")
    return words if len(words.split()) > 1 else issue.id.replace("_", " ")
