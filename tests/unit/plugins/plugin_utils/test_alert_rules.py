# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alert rules of Prometheus from the catalogue."""

from __future__ import annotations

import yaml

from ansible_collections.fediops.mastodon.plugins.module_utils._watch import conditions
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _alert_rules, _catalogue

CATALOGUE = _catalogue.load()
TEXT = _alert_rules.text(CATALOGUE, 15, 50)
RULES = {rule["alert"]: rule for rule in yaml.safe_load(TEXT)["groups"][0]["rules"]}


def test_every_known_issue_has_a_rule():
    issues = {rule["labels"].get("issue") for rule in RULES.values()} - {None}
    assert issues == {name for name, issue in CATALOGUE.items() if issue.severity != "advice"}
    rule = RULES["MastodonDiskFull"]
    assert 'issue="disk_full"' in rule["expr"] and rule["labels"]["severity"] == "critical"
    assert rule["annotations"]["summary"] == "A filesystem is full" and rule["annotations"]["runbook_url"].startswith("https://")


def test_no_template_of_ours_reaches_prometheus():
    assert not any(brace in text for rule in RULES.values() for text in rule["annotations"].values() for brace in "{}")
    assert all(rule["annotations"]["summary"] for rule in RULES.values())


def test_a_watch_that_stops_is_noticed():
    assert RULES["MastodonWatchStopped"]["expr"].endswith("> 900")
    assert RULES["MastodonDiagnosisStopped"]["expr"].endswith("> 180000")


def test_what_the_watch_calls_an_issue_is_one_of_the_catalogue():
    """An alert leads to the finding of the same name."""
    source = {*conditions.DATABASE_ISSUES.values(), *(issue for issue, _severity in conditions.UNIT_ISSUES.values())}
    source |= {issue for issue, _severity in conditions.UNIT_ISSUES_ALONE.values()}
    source |= {"web_errors_5xx", "sidekiq_backlog", "sidekiq_queue_missing", "web_down_502", "streaming_down", "redis_auth_failed"}
    source |= {"redis_misconf_disk", "redis_down", "db_connection_refused", "disk_full"}
    assert source <= set(CATALOGUE)
    for issue, severity in conditions.UNIT_ISSUES.values():
        assert CATALOGUE[issue].severity == severity
