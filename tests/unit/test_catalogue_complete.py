# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A walk over the catalogue: nothing that a known issue needs elsewhere is missing.

Titles, advice and sources in both languages and a fix or the reason for having none are demanded by the loader itself.
"""

from __future__ import annotations

import re
import subprocess

from pathlib import Path

import pytest
import yaml

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import Scope
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import check_expressions

ROOT = Path(__file__).parents[2]
CATALOGUE = _catalogue.load()


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_each_expression_can_be_used(name: str) -> None:
    """What is not checked again on every run."""
    check_expressions(CATALOGUE[name], _catalogue.signatures(CATALOGUE))


def test_the_documentation_has_a_row_for_each() -> None:
    made = subprocess.run([str(ROOT / "tools" / "known-issues")], check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs" / "known-issues.md").read_text(encoding="utf-8") == made, "run: tools/known-issues > docs/known-issues.md"


# A container has no clock of its own: tests/live/test_clock.py plants it on a virtual machine.
PLANTED_ON_A_MACHINE = {"clock_skew"}


# What only containers have is planted where containers run: tests/live/test_compose.py.
PLANTED_ON_COMPOSE = {
    "assets_shadowed_by_volume",
    "container_healthcheck_stale",
    "container_network_broken",
    "container_versions_mixed",
    "media_not_persistent",
    "outbound_network_broken",
}


def test_each_is_planted_for_real() -> None:
    # What is nobody's fault is shown to be none in tests/live/test_noise.py.
    noise = {name for name, issue in CATALOGUE.items() if issue.noise}
    faults = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "tests" / "faults").glob("*/fault.yml")]
    planted = {fault["cause"] for fault in faults}
    fleet = {name for name, issue in CATALOGUE.items() if issue.fleet}
    # Between hosts: planted on three of them, by a test of its own.
    split = (ROOT / "tests" / "live" / "test_split_install.py").read_text(encoding="utf-8")
    assert [name for name in fleet if f'("fleet", "{name}")' not in split] == []
    # Symptoms: they show in nearly every fault, and alone only for what nobody knows (of the probe: tests/live/test_post_probe.py).
    symptoms = {"web_errors_5xx", "posting_fails", "post_text_damaged", "media_post_fails", "probe_left_posts"}
    shown = planted | PLANTED_ON_COMPOSE | PLANTED_ON_A_MACHINE
    assert shown == set(CATALOGUE) - symptoms - fleet - noise
    assert not planted & PLANTED_ON_A_MACHINE


def test_what_the_short_run_leaves_out_is_judged_without_it() -> None:
    """A cause whose faults are all ``extra`` is named from two logs at least, which unit tests read (test_corpus.py)."""
    logs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "tests" / "corpus").glob("*.yml")]
    cases = [case["cause"] for log in logs for case in log["cases"]]
    faults = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "tests" / "faults").glob("*/fault.yml")]
    in_the_short_run = {fault["cause"] for fault in faults if not fault.get("extra", False)}
    assert [fault["cause"] for fault in faults if fault["cause"] not in in_the_short_run and cases.count(fault["cause"]) < 2] == []


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_each_explains_what_people_see(name: str) -> None:
    """Faults that make requests fail say so, else the failed requests would stand beside them as a cause of their own."""
    # Mastodon answers all the same; or it is the proxy that refuses, and with another status than 5xx.
    quiet = set(
        """
        web_errors_5xx sidekiq_not_running sidekiq_queue_missing sidekiq_backlog sidekiq_stuck login_shell_rails_env command_env_not_loaded
        command_run_as_wrong_user debug_log_level stop_timeout_too_short not_a_server_fault outbound_network_broken
        media_not_persistent container_healthcheck_stale
        ca_certificates_outdated clock_skew ipv6_without_service smtp_failure tls_expired proxy_body_size proxy_headers_wrong
        rate_limited_shared_ip
        posting_fails post_text_damaged media_post_fails probe_left_posts
        scheduler_duplicated clocks_differ
        """.split()
    )
    assert ("web_errors_5xx" in CATALOGUE[name].explains) == (name not in quiet)


def test_what_is_told_has_no_holes_where_only_lines_are_known() -> None:
    """A value that nobody knows of pasted lines leaves two spaces, or one before a sign."""
    facts = {"schema": 1, "install": {}, "logs": {"alone": True, "signatures": {}}, "probes": {"logs": {"state": "ok"}}}
    for name, issue in CATALOGUE.items():
        if issue.signatures or issue.alone:
            scope = Scope(facts, name)
            told = [issue.title, issue.advice, issue.no_fix or {}]
            for language, source in [pair for text in told for pair in text.items()]:
                text = scope.told(source)
                hole = re.search(r"\S  \S| [)\]]|(?<!\.) \.(?:\s|$)|\( | ,|\]\[", text)
                assert text and not hole, (name, language, text)
