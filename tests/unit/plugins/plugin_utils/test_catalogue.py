# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue: every mistake in a file becomes one sentence with file, key and reason."""

from __future__ import annotations

import re
import time

import pytest
import yaml

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _patterns
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts

GOOD = yaml.safe_load((hosts.KNOWN_ISSUES / "db_connection_refused.yml").read_text(encoding="utf-8"))


def load_with(tmp_path, changes, name="mine"):
    """The catalogue of the fixtures and one more file, made of a good one and some changes (None takes a key out)."""
    issue = {**GOOD, "id": name, "explains": [], **changes}
    for key, value in changes.items():
        if value is None:
            del issue[key]
    (tmp_path / f"{name}.yml").write_text(yaml.safe_dump(issue), encoding="utf-8")
    return _catalogue.load([str(tmp_path)], own_directory=hosts.KNOWN_ISSUES)


def test_loads():
    catalogue = hosts.catalogue()
    assert list(catalogue) == sorted(path.stem for path in hosts.KNOWN_ISSUES.glob("*.yml"))
    assert catalogue["disk_full"].explains["redis_misconf_disk"] is None
    assert _catalogue.signatures(catalogue)["disk_full.pg_diskfull"] == {
        "in": ["web", "database"],
        "match": "PG::DiskFull",
        "literals": ["PG::DiskFull"],
    }


def test_a_users_file_replaces_ours(tmp_path):
    catalogue = load_with(tmp_path, {"severity": "warning", "explains": ["web_down_502"]}, name="db_connection_refused")
    assert catalogue["db_connection_refused"].severity == "warning"
    assert list(catalogue) == list(hosts.catalogue())


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"severity": "criticl"}, "severity", '"criticl" is not one of critical, error, warning, advice'),
        ({"severty": "error"}, "severty", "is not a known key; allowed are"),
        ({"component": "db"}, "component", "is not one of web"),
        ({"title": None}, "title", "is missing"),
        ({"title": {"en": "x"}}, "title.fr", "is missing"),
        ({"title": {"en": "x", "fr": " "}}, "title.fr", "is empty"),
        ({"title": {"en": "x", "fr": "x", "de": "x"}}, "title.de", "is not a known key"),
        ({"advice": "x"}, "advice", "must be a mapping"),
        ({"id": "other"}, "id", "must be the file name"),
        ({"id": "../x"}, "id", "must be lower case"),
        ({"applies": {"mastodon": "3.5+"}}, "applies.mastodon", "is not a range of versions"),
        ({"applies": {"roles": ["wbe"]}}, "applies.roles[0]", "is not one of"),
        ({"applies": {"deployment": "systemd"}}, "applies.deployment", "must be a list"),
        ({"applies": {"asked": "probe_pst.posts"}}, "applies.asked", "is not the path of a fact"),
        ({"signatures": {"ab": {"in": ["web"], "match": "("}}}, "signatures.ab.match", "is not a regular expression"),
        ({"signatures": {"a_": {"in": ["nowhere"], "match": "x"}}}, "signatures.a_.in[0]", "is not one of"),
        ({"signatures": {"ab": {"in": [], "match": "x"}}}, "signatures.ab.in", "names no origin"),
        ({"signatures": {"ab": {"in": ["web"], "match": "(a+)+b"}}}, "signatures.ab.match", "quantifier inside a repeated group"),
        ({"signatures": {"ab": {"in": ["web"], "match": "x*"}}}, "signatures.ab.match", "matches every line"),
        ({"needs": ["databse.reachable"]}, "needs[0]", "is not the path of a fact"),
        ({"when": []}, "when", "has no expression"),
        ({"when": ["{{ database.reachable }}"]}, "when[0]", "leave out the {{ }}"),
        ({"when": "database.reachable ="}, "when[0]", "not valid Jinja2"),
        ({"when": "databse.reachable"}, "when[0]", "is not the name of a fact"),
        ({"unless": 3}, "unless[0]", "must be text"),
        ({"evidence": [{"fact": "disk", "value": "{{ disk"}]}, "evidence[0].value", "not valid Jinja2"),
        ({"evidence": [{"fact": "disk", "value": "{{ item.x }}"}]}, "evidence[0].value", '"item" is not the name of a fact'),
        ({"evidence": [{"fct": "disk", "value": "x"}]}, "evidence[0].fct", "is not a known key"),
        ({"alone": {"when": ["seen('refused') > 0"], "also": ["seen('refused') > 1"]}}, "alone", "has either when"),
        ({"alone": {"also": ["seen('nobody') > 1"]}}, "alone.also[0]", 'seen("nobody") names no signature'),
        ({"explains": ["nobody"]}, "explains", '"nobody" is not the id of a known issue'),
        ({"explains": [{"id": "web_down_502"}]}, "explains[0].when", "is missing"),
        ({"explains": [{"id": "web_down_502", "when": "x y"}]}, "explains.web_down_502.when", "not valid Jinja2"),
        ({"fix": None}, "fix", "is missing"),
        ({"no_fix": {"en": "x", "fr": "x"}}, "no_fix", "contradicts fix"),
        ({"fix": {"name": "x", "impact": "start"}}, "fix.name", '"x" is not one of'),
        ({"fix": {"name": "start_services", "impact": "reboot"}}, "fix.impact", "is not one of"),
        (
            {"fix": {"name": "start_services", "impact": "restart"}},
            "fix.impact",
            'is more than start_services does at most, which is "start"',
        ),
        ({"fix": {"name": "start_services", "impact": "start", "when": "disk"}}, "no_fix", "every alternative of fix has a when"),
        ({"fix": {"name": "start_services", "impact": "start", "when": True}}, "fix.when", "must be text"),
        ({"fix": {"name": "start_services", "impact": "start", "when": "{{ disk }}"}}, "fix.when", "leave out the {{ }}"),
        (
            {"fix": {"name": "start_services", "impact": "start", "when": "dsk"}, "no_fix": {"en": "x", "fr": "x"}},
            "fix.when",
            "not the name of a fact",
        ),
        (
            {"fix": {"name": "start_services", "impact": "start", "options": {"roles": "{{ dsk }}"}}},
            "fix.options.roles",
            "not the name of a fact",
        ),
        ({"fix": {"name": "start_services", "impact": "start", "options": {"Roles": "web"}}}, "fix.options.Roles", "lower case letters"),
        ({"fix": {"name": "start_services", "impact": "start", "options": {"days": 7}}}, "fix.options.days", "must be text"),
        ({"fix": {"name": "start_services", "impact": "start", "judged": "no"}}, "fix.judged", "must be true or false"),
        ({"fix": []}, "fix", "is empty"),
        ({"fix": [{"name": "start_services", "impact": "start"} for number in range(2)]}, "fix[0].when", "would never be taken"),
        ({"fix": [{"name": "start_services", "impact": "start", "when": "disk"}, 3]}, "fix[1]", "must be a mapping"),
        ({"sources": []}, "sources", "is empty"),
        ({"sources": [{"title": "x", "url": "http://x.example/"}]}, "sources[0].url", "is not an https address"),
        ({"sources": [{"title": "x", "url": 'https://x.example/"onclick=x'}]}, "sources[0].url", "is not an https address"),
    ],
)
def test_a_mistake_is_named(tmp_path, changes, key, reason):
    with pytest.raises(_catalogue.CatalogueError) as error:
        load_with(tmp_path, changes)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert str(tmp_path / "mine.yml") in sentence
    assert f'key "{key}"' in sentence
    assert reason in sentence


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"id: a\nid: b\n", 'key "id": is given twice (line 2)'),
        (b"id: [\n", "is not valid YAML"),
        (b"id: \xff\n", "is not UTF-8"),
        (b"- a\n", "must be a mapping"),
        (b"", "must be a mapping"),
        (b"a: 1\nd:\n  <<: {b: c}\n", "merging is not allowed"),
        (b"a: &a [x]\nb: [*a, *a]\n", "holds an alias"),
        (b"id: !!bool maybe\n", "does not fit its tag"),
        (b"id: !!timestamp soon\n", "does not fit its tag"),
        (b"a: !!python/object/apply:os.system [id]\n", "is not valid YAML"),
        (b"#" * 70_000, "is larger than 65536 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, reason):
    (tmp_path / "mine.yml").write_bytes(content)
    with pytest.raises(_catalogue.CatalogueError, match=re.escape(reason)) as error:
        _catalogue.load([str(tmp_path)], own_directory=hosts.KNOWN_ISSUES)
    assert str(tmp_path / "mine.yml") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_circle_is_named(tmp_path):
    with pytest.raises(_catalogue.CatalogueError, match=r"goes in a circle \(.*web_down_502 -> disk_full.*\)"):
        load_with(tmp_path, {"explains": ["disk_full"]}, name="web_down_502")


def test_a_missing_directory_and_a_wrong_ending_are_named(tmp_path):
    with pytest.raises(_catalogue.CatalogueError, match="cannot be read: No such file"):
        _catalogue.load([str(tmp_path / "nowhere")], own_directory=hosts.KNOWN_ISSUES)
    (tmp_path / "mine.yaml").write_text("", encoding="utf-8")
    with pytest.raises(_catalogue.CatalogueError, match="must end in .yml"):
        _catalogue.load([str(tmp_path)], own_directory=hosts.KNOWN_ISSUES)


@pytest.mark.parametrize(
    "pattern", [r"PG::Undefined(Column|Table)", r"(?:\w+ ){1,3}x", r"a{3}(?:bc){2,9}", r"^.*timeout.*$", r"(?:foo )?bar+"]
)
def test_ordinary_patterns_pass(pattern):
    assert _patterns.problem(pattern) is None


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(?:\w+\s*)*x", r"(.*,)*y", r"((ab)*c)*d", r"(?=(a+)*)b", r"a++b", r"(?>ab)c", "x" * 2000])
def test_dangerous_patterns_do_not(pattern):
    assert _patterns.problem(pattern)


def test_twenty_four_files_load_quickly(tmp_path):
    for number in range(24):
        (tmp_path / f"mine_{number}.yml").write_text(yaml.safe_dump({**GOOD, "id": f"mine_{number}"}), encoding="utf-8")
    (tmp_path / "own").mkdir()
    for name in ("web_down_502", "sidekiq_backlog"):
        (tmp_path / f"{name}.yml").write_bytes((hosts.KNOWN_ISSUES / f"{name}.yml").read_bytes())
    start = time.perf_counter()
    assert len(_catalogue.load([str(tmp_path)], own_directory=tmp_path / "own")) == 26
    print(f"26 files: {(time.perf_counter() - start) * 1000:.0f} ms")
