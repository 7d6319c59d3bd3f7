# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a probe that posts saw becomes findings under their causes; one that nobody asked for is no gap."""

from __future__ import annotations

import copy
import types

import pytest

from ansible_collections.fediops.mastodon.plugins.action import mastodon_facts
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _diagnosis, _post_probe
from ansible_collections.fediops.mastodon.plugins.plugin_utils._judgement import judge
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts

CATALOGUE = _catalogue.load()
OURS = ("posting_fails", "post_text_damaged", "media_post_fails", "probe_left_posts")
OK = {"state": "ok", "seconds": 0.3}
FAILED = {
    "state": "failed", "seconds": 0.2, "step": "create", "status": 500, "request_id": "0e3c-1", "reached_application": True,
    "error": {"kind": "http", "message": "POST /api/v1/statuses answered 500"},
}  # fmt: skip


def probed(*, skipped=(), left=(), logs=None, **posts):
    facts = hosts.healthy()
    facts["probes"]["probe_post"] = {"state": "ok", "seconds": 1.0}
    facts["probe_post"] = {
        "url": "https://mastodon.example", "run_from": "controller", "posts": posts, "skipped": dict.fromkeys(skipped, "why"),
        "left": list(left), "cleaned": 0, "seconds": 1.0,
    }  # fmt: skip
    facts["logs"].update(logs or {})
    return facts


def states(facts):
    return {name: judge(CATALOGUE[name], facts).state for name in OURS}


@pytest.mark.parametrize("probe", [None, {"state": "skipped", "seconds": 0.0, "reason": "nothing is posted in check mode"}])
def test_what_nobody_asked_for_is_neither_passed_nor_unknown(probe):
    facts = hosts.healthy()
    if probe:
        facts["probes"]["probe_post"] = probe
    assert set(states(facts).values()) == {"not_applicable"}


def test_a_probe_that_failed_is_unknown_with_its_reason():
    facts = hosts.healthy()
    facts["probes"]["probe_post"] = {"state": "failed", "seconds": 0.1, "reason": "the token is not valid here"}
    facts["probe_post"] = {"run_from": "controller"}
    assert {(judged.state, judged.reason) for judged in (judge(CATALOGUE[name], facts) for name in OURS)} == {
        ("unknown", "the token is not valid here")
    }


def test_what_was_seen_before_the_probe_stopped_is_kept():
    facts = probed(plain=OK, unicode=FAILED)
    facts["probes"]["probe_post"] = {"state": "failed", "seconds": 0.1, "reason": "the token needs the scope write:media"}
    judged = states(facts)
    assert [judged[name] for name in OURS[:3]] == ["clear", "found", "unknown"]


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (probed(plain=OK, unicode=OK, media=OK), []),
        (probed(plain=OK, unicode=OK, skipped=["media"]), []),
        (probed(plain=FAILED, skipped=["unicode", "media"]), ["posting_fails"]),
        (probed(plain=OK, unicode={**OK, "state": "damaged", "step": "read"}, media=OK), ["post_text_damaged"]),
        (probed(plain=OK, unicode=OK, media={**FAILED, "step": "upload"}), ["media_post_fails"]),
        (probed(plain=OK, unicode=OK, media=OK, left=[{"kind": "post", "id": "1", "reason": "x"}]), ["probe_left_posts"]),
        (probed(plain=OK, unicode=OK, media=OK, left=[{"kind": "media", "reason": "x", "gone_within_seconds": 1}]), []),
    ],
)
def test_what_is_found(facts, found):
    judged = states(facts)
    assert [name for name, state in judged.items() if state == "found"] == found
    posts = {"posting_fails": "plain", "post_text_damaged": "unicode", "media_post_fails": "media"}
    tried = {name for name, part in posts.items() if part in facts["probe_post"]["posts"]}
    assert {name for name, state in judged.items() if state == "not_applicable"} == set(posts) - tried


def test_the_finding_leads_to_the_request_and_its_exception():
    thrown = {"class": "PG::DiskFull", "frame": "app/x.rb:1", "message": "no room", "request_ids": ["0e3c-1"], "origin": "web", "count": 1}
    facts = probed(plain=FAILED, logs={"exceptions": [thrown], "requests": {}, "posts": {}})
    told = _diagnosis.diagnose({"web1": facts}, CATALOGUE, now=hosts.NOW, run=hosts.RUN)["hosts"]["web1"]
    finding = next(each for each in told["findings"] if each["id"] == "posting_fails")
    assert [entry["value"] for entry in finding["evidence"]] == [
        "create: POST /api/v1/statuses answered 500 (from the controller, after 200 ms)", "request 0e3c-1",
        "PG::DiskFull at app/x.rb:1: no room",
    ]  # fmt: skip
    assert all("ansible-playbook fediops.mastodon.trace -e request_id=0e3c-1 " in finding["advice"][language] for language in ("en", "fr"))


@pytest.mark.parametrize(
    ("facts", "url"),
    [
        ({"install": {"domain": "mastodon.example"}}, "https://mastodon.example"),
        ({"install": {"domain": "a.example"}, "environment": {"settings": {"WEB_DOMAIN": "web.a.example"}}}, "https://web.a.example"),
        ({"install": {"found": False}}, ""),
        (None, ""),
    ],
)
def test_the_address_is_that_of_users(facts, url):
    assert _post_probe.url_by(facts) == url


def test_only_hosts_with_a_web_process_have_the_fact():
    told = {"state": "ok", "seconds": 1.0, "facts": {"url": "https://mastodon.example", "posts": {"plain": OK}}}
    web, database = hosts.healthy(), hosts.healthy()
    database["install"]["roles"] = ["database"]
    for facts in (web, database):
        mastodon_facts._add_probe(facts, copy.deepcopy(told))
    assert web["probe_post"] == told["facts"] and web["probes"]["probe_post"] == {"state": "ok", "seconds": 1.0}
    assert "probe_post" not in database
    assert database["probes"]["probe_post"]["state"] == "skipped"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "missing required arguments: token"),
        ({"token": "a b"}, "token is the access token of an application"),
        ({"token": "x\r\nHost: y"}, "token is the access token of an application"),
        ({"token": "x", "address": "a b"}, "address is the name or IP address"),
        ({"token": "x", "timeout": 121}, "timeout is a number of seconds between 1 and 120, not 121"),
        ({"token": "x", "media": "maybe"}, "value of media must be one of: auto, always, never"),
    ],
)
def test_wrong_options_are_one_sentence_without_the_token(options, sentence):
    with pytest.raises(Exception, match=sentence) as raised:
        _post_probe.checked(options)
    assert "Host: y" not in str(raised.value)


def test_of_an_instance_one_host_posts(monkeypatch, tmp_path):
    monkeypatch.setattr(_post_probe._run_folder, "_folder", lambda: tmp_path)
    made = []

    def run_apart(options):
        made.append(options["url"])
        return {"state": "ok", "seconds": 1.0, "facts": {"posts": {}}}

    monkeypatch.setattr(_post_probe, "run_apart", run_apart)
    options = {**_post_probe.checked({"token": "Vogel-1234"}), "url": "https://mastodon.example"}
    one, later = (types.SimpleNamespace(_task=types.SimpleNamespace(_uuid=name)) for name in ("one", "later"))
    first, second = (_post_probe.run_once(one, {}, options) for _host in range(2))
    assert made == ["https://mastodon.example"] and first == second and first["facts"]["run_from"] == "controller"
    _post_probe.run_once(later, {}, options)
    assert len(made) == 2
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or "Vogel" not in path.read_text()
