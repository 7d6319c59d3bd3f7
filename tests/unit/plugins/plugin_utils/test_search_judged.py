# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a search server that nobody used lately, so that no log tells of it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _diagnosis
from ansible_collections.fediops.mastodon.tests.unit.fixtures.hosts import NOW, RUN, healthy

CATALOGUE = _catalogue.load()


def judged(search: dict[str, t.Any], **changes: t.Any) -> tuple[list[str], list[str], str]:
    """The causes, what stays unknown of the search, and the evidence."""
    facts = healthy(search={"enabled": True, "address": "localhost:9200", "tls": False, **search}, **changes)
    host = _diagnosis.diagnose({"a": facts}, CATALOGUE, now=NOW, run=RUN)["hosts"]["a"]
    told = [finding for finding in host["findings"] if finding["id"].startswith("elasticsearch")]
    unknown = [each["id"] for each in host["unknown"] if each["id"].startswith("elasticsearch")]
    return [each["id"] for each in told], unknown, " ".join(str(one["value"]) for each in told for one in each["evidence"])


@pytest.mark.parametrize(
    ("search", "expected", "evidence"),
    [
        ({"status": 200, "version": "7.17.29", "version_supported": True, "health": "yellow"}, [], ""),
        ({"status": 200, "version": "2.11.0", "distribution": "opensearch", "health": "green"}, [], ""),
        # Whose user may not ask who it is may well search.
        ({"status": 403}, [], ""),
        ({"status": 404}, [], ""),
        ({"error": {"kind": "certificate", "message": "self-signed certificate"}}, [], ""),
        ({"error": {"kind": "refused", "message": "Connection refused"}}, ["elasticsearch_down"], "localhost:9200: Connection refused"),
        ({"error": {"kind": "timeout", "message": "no answer in time"}}, ["elasticsearch_down"], "no answer in time"),
        ({"status": 503}, ["elasticsearch_down"], "localhost:9200: answered 503"),
        ({"status": 200, "version": "7.17.29", "version_supported": True, "health": "red"}, ["elasticsearch_down"], "cluster red"),
        ({"status": 401}, ["elasticsearch_incompatible"], "localhost:9200: answered 401"),
        ({"error": {"kind": "reset", "message": "no HTTP answer"}}, ["elasticsearch_incompatible"], "no HTTP answer"),
        ({"status": 200, "version": "6.8.23", "version_supported": False}, ["elasticsearch_incompatible"], "version 6.8.23"),
    ],
)
def test_each_answer(search: dict[str, t.Any], expected: list[str], evidence: str) -> None:
    causes, unknown, told = judged(search)
    assert (causes, unknown) == (expected, []), told
    assert evidence in told


def test_search_that_is_off() -> None:
    assert judged({"enabled": False})[:2] == ([], [])


def test_what_could_not_be_told_is_unknown() -> None:
    assert judged({})[:2] == ([], ["elasticsearch_down", "elasticsearch_incompatible"])


@pytest.mark.parametrize("kind", ["dns", "timeout"])
def test_a_broken_network_of_containers_is_why(kind: str) -> None:
    apart = {"compose": {"unreachable": [{"unit": "web-1", "other": "db-1", "role": "database"}]}, "units": []}
    facts = healthy(search={"enabled": True, "address": "es:9200", "tls": False, "error": {"kind": kind, "message": "x"}})
    facts["services"].update(apart)
    facts["install"]["deployment"] = "docker"
    host = _diagnosis.diagnose({"a": facts}, CATALOGUE, now=NOW, run=RUN)["hosts"]["a"]
    ranks = {finding["id"]: (finding["rank"], finding["explained_by"]) for finding in host["findings"]}
    assert ranks["container_network_broken"][0] == 1
    assert ranks["elasticsearch_down"][1] == "container_network_broken"
