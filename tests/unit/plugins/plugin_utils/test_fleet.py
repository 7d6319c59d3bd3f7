# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An instance on several hosts: what shows only between them, what is told once, and what is caused elsewhere. With our own catalogue."""

from __future__ import annotations

import copy
import functools
import json

import jsonschema
import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _diagnosis, _waivers
from ansible_collections.fediops.mastodon.plugins.plugin_utils._issue_values import IssueError
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import read_issue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import html, junit, markdown, terminal, view
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts

WATCHED = """version_drift secrets_drift stores_differ scheduler_duplicated clocks_differ clock_skew db_connection_refused redis_down
sidekiq_not_running sidekiq_queue_missing secrets_changed database_ahead web_errors_5xx""".split()
SCHEMA = json.loads((_catalogue.OWN_DIRECTORY.parents[3] / "plugins/plugin_utils/_report/diagnosis.schema.json").read_text("utf-8"))
QUEUES = ["default", "push", "ingress", "mailers", "pull", "scheduler", "fasp"]


@functools.cache
def catalogue():
    """Of our own, what this is about; the others would want facts of everything."""
    whole = _catalogue.load()
    return {name: whole[name] for name in WATCHED}


def redis(run_id="a" * 40, address="192.0.2.5:6379/0", reachable=True):
    error = {} if reachable else {"error": {"kind": "refused", "message": "refused"}}
    return {"uses": {use: {"address": address, "reachable": reachable, "run_id": run_id, **error} for use in ("app", "sidekiq", "cache")}}


def sidekiq(*processes, unconsumed=()):
    live = [{"hostname": name, "pid": 9, "quiet": False, "queues": list(queues)} for name, queues in processes]
    return {
        "processes": live, "unconsumed_queues": list(unconsumed), "expected_queues": QUEUES, "stale_processes": 0,
        "schedulers": sum("scheduler" in queues for _name, queues in processes), "queues": [],
    }  # fmt: skip


def units(*roles, state="active"):
    found = [
        {"name": f"{role}.service", "role": role, "active_state": state, "sub_state": "x", "result": "success", "intended": True,
         "shim": False, "restarts": 0, "since_epoch": hosts.NOW - 9000}
        for role in roles
    ]  # fmt: skip
    return {"manager": "systemd", "units": found}


def app(*roles, version=(4, 4, 22), address="192.0.2.1", run="r1", keys=None, ahead=(-0.4, 0.6), **changes):
    facts = hosts.healthy()
    facts["host"] = {"addresses": [address]}
    facts["install"].update(roles=list(roles), version={"string": ".".join(map(str, version)), "number": list(version)})
    facts["clock"] = {"ahead_least_seconds": ahead[0], "ahead_most_seconds": ahead[1], "synchronized": True}
    facts["environment"] = {"fingerprints": {"run": run, "SECRET_KEY_BASE": "aa", "VAPID_PRIVATE_KEY": "bb", **(keys or {})}, "secrets": {}}
    facts["database"] = {
        "reachable": True, "address": "192.0.2.5:5432", "name": "mastodon_production",
        "schema": {"applied": 400, "pending": [], "ahead": [], "newest_applied": "2025", "newest_file": "2025"},
    }  # fmt: skip
    facts["redis"] = redis()
    facts["sidekiq"] = sidekiq(("w1", QUEUES))
    facts["services"] = units(*roles)
    facts["logs"] = {
        "since_epoch": hosts.NOW - 3600, "signatures": {}, "remotes": {"unauthorized": {"hosts": 0, "count": 0}},
        "jobs": {"done": 9, "failed": 0}, "requests": {"total": 9, "by_status": {}, "server_errors": 0}, "posts": {"total": 0, "failed": 0},
    }  # fmt: skip
    facts.update(copy.deepcopy(changes))
    return facts


def stores(**changes):
    """A host with PostgreSQL and Redis, and nothing of Mastodon."""
    facts = app("database", "redis", address="192.0.2.5")
    for name in ("database", "redis", "sidekiq", "environment", "web", "media"):
        del facts[name]
        facts["probes"][name] = {"state": "skipped", "seconds": 0.0, "reason": "no Mastodon was found on this host"}
    facts["install"] = {"found": False, "roles": ["database", "redis"], "searched": []}
    facts.update(copy.deepcopy(changes))
    return facts


def three(**changes):
    facts = {"web1": app("web", "proxy"), "w1": app("sidekiq", "streaming", address="192.0.2.2"), "db1": stores()}
    facts.update(changes)
    return facts


def diagnose(facts, **options):
    found = _diagnosis.diagnose(facts, catalogue(), now=hosts.NOW, run=hosts.RUN, **options)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


def between(facts, **options):
    return {finding["id"]: finding for finding in diagnose(facts, **options)["fleet"]["findings"]}


def causes(found, host):
    return {finding["id"]: finding["explained_by"] for finding in found["hosts"][host]["findings"]}


def values(finding):
    return [entry["value"] for entry in finding["evidence"]]


def test_a_healthy_split_instance_is_clear():
    found = diagnose(three())
    told = {name: (host["verdict"], host["unknown"], host["findings"]) for name, host in found["hosts"].items()}
    assert {verdict for verdict, _unknown, _findings in told.values()} == {"clear"}, told
    assert (found["verdict"], found["fleet"]) == ("clear", {"findings": []})


def test_versions():
    older = app("sidekiq", version=(4, 4, 21), address="192.0.2.2")
    older["database"]["schema"].update(ahead=["2026"], newest_applied="2026")
    found = diagnose(three(w1=older))
    (finding,) = found["fleet"]["findings"]
    assert (finding["id"], finding["rank"], finding["instance"]) == (
        "version_drift", 1, {"name": "mastodon.example", "hosts": ["web1", "w1", "db1"]},
    )  # fmt: skip
    assert values(finding) == ["web1: Mastodon 4.4.22", "w1: Mastodon 4.4.21"]
    assert causes(found, "w1") == {"database_ahead": "fleet/version_drift"}
    assert found["hosts"]["web1"]["verdict"] == "clear"
    assert finding["explains"] == ["w1/database_ahead"]
    # The newest host cannot be behind the database for that reason.
    newest = app("web", version=(4, 4, 23))
    newest["database"]["schema"].update(ahead=["2026"], newest_applied="2026")
    assert causes(diagnose(three(web1=newest)), "web1") == {"database_ahead": None}


def test_secrets():
    found = between(three(w1=app("sidekiq", address="192.0.2.2", keys={"SECRET_KEY_BASE": "cc", "OTP_SECRET": "dd"})))
    assert values(found["secrets_drift"]) == ["SECRET_KEY_BASE differs: web1 ≠ w1"]  # a key that only one host defines is no difference
    assert found["secrets_drift"]["fix"] is None


def test_secrets_recorded_in_two_runs_are_not_compared():
    assert between(three(w1=app("sidekiq", address="192.0.2.2", run="r2", keys={"SECRET_KEY_BASE": "cc"}))) == {}


def test_secrets_of_another_instance_may_differ():
    other = app("web", address="192.0.2.9", keys={"SECRET_KEY_BASE": "cc"}, redis=redis("b" * 40, "192.0.2.9:6379/0"))
    other["install"]["domain"], other["database"]["address"] = "other.example", "192.0.2.9:5432"
    assert between(three(other=other)) == {}


@pytest.mark.parametrize(
    "change",
    [{"redis": redis("b" * 40, "localhost:6379/0")}, {"database": {**app("web")["database"], "schema": {"applied": 399}}}],
)
def test_stores(change):
    found = diagnose(three(w1=app("sidekiq", address="192.0.2.2", **change)))
    assert [finding["id"] for finding in found["fleet"]["findings"]] == ["stores_differ"]


def test_two_redis_servers_explain_that_the_web_host_sees_no_sidekiq():
    facts = three(w1=app("sidekiq", address="192.0.2.2", redis=redis("b" * 40, "localhost:6379/0")))
    facts["web1"]["sidekiq"] = sidekiq(unconsumed=QUEUES)
    assert causes(diagnose(facts), "web1") == {"sidekiq_not_running": "fleet/stores_differ"}


def test_schedulers():
    two = sidekiq(("w1", QUEUES), ("w2", ["scheduler"]))
    facts = three()
    for host in ("web1", "w1"):
        facts[host]["sidekiq"] = two
    finding = between(facts)["scheduler_duplicated"]
    assert values(finding) == [f"w1:9 takes {', '.join(QUEUES)}", "w2:9 takes scheduler"]
    facts["w1"]["services"]["units"][0]["since_epoch"] = hosts.NOW - 5  # the one before it is still in Redis
    assert between(facts) == {}


def test_clocks():
    assert between(three(w1=app("sidekiq", address="192.0.2.2", ahead=(-3.0, 9.0)))) == {}  # a slow way proves nothing
    finding = between(three(w1=app("sidekiq", address="192.0.2.2", ahead=(31.0, 32.0))))["clocks_differ"]
    assert values(finding)[-1].startswith("w1: 31 to 32 s ahead of this controller")
    assert between(three(db1=stores(clock={"ahead_least_seconds": -40.0, "ahead_most_seconds": -39.0})))["clocks_differ"]


def test_a_clock_that_nobody_keeps_explains_the_difference():
    facts = three(w1=app("sidekiq", address="192.0.2.2", ahead=(100.0, 101.0)))
    facts["w1"]["clock"].update(synchronized=False, controller_synchronized=True)
    found = diagnose(facts)
    assert causes(found, "w1") == {"clock_skew": None}
    assert found["fleet"]["findings"][0]["explained_by"] == "w1/clock_skew"


def test_a_host_that_could_not_be_compared_is_said():
    facts = three()
    del facts["w1"]["environment"]
    facts["w1"]["probes"]["environment"] = {"state": "denied", "seconds": 0.0, "reason": "run it as root"}
    found = diagnose(facts)
    assert found["fleet"]["unknown"] == [
        {"id": "secrets_drift", "reason": "w1: run it as root", "instance": {"name": "mastodon.example", "hosts": ["web1", "w1", "db1"]}}
    ]
    assert found["verdict"] == "incomplete"


def down(facts):
    """Nobody reaches PostgreSQL."""
    for host in ("web1", "w1"):
        facts[host]["database"] = {"reachable": False, "address": "192.0.2.5:5432", "error": {"kind": "refused", "message": "refused"}}
    return facts


def test_a_stopped_database_is_named_on_its_host():
    found = diagnose(down(three(db1=stores(services=units("database", state="inactive")))))
    assert causes(found, "db1") == {"db_connection_refused": None}
    for host in ("web1", "w1"):
        assert causes(found, host) == {"db_connection_refused": "db1/db_connection_refused"}
    assert found["hosts"]["db1"]["findings"][0]["fix"] == {"name": "start_services", "impact": "start", "options": {"roles": "database"}}


def test_a_database_that_runs_and_is_not_reached_is_nobodys_else():
    found = diagnose(down(three()))
    assert found["hosts"]["db1"]["verdict"] == "clear"
    assert causes(found, "web1") == {"db_connection_refused": None}


def test_what_is_switched_off_does_not_count():
    """Servers that were split still have the units of before."""
    facts = three()
    leftovers = [{**unit, "intended": False, "active_state": "inactive"} for unit in units("database", "redis", "sidekiq")["units"]]
    facts["web1"]["install"]["roles"] += ["database", "redis", "sidekiq"]
    facts["web1"]["services"]["units"] += leftovers
    assert diagnose(facts)["verdict"] == "clear"
    for host in ("web1", "w1"):
        facts[host]["sidekiq"] = sidekiq(unconsumed=QUEUES)
    facts["w1"]["services"] = units("sidekiq", state="inactive")
    found = diagnose(down(facts))
    assert (causes(found, "w1")["sidekiq_not_running"], "sidekiq_not_running" in causes(found, "web1")) == ("db_connection_refused", False)
    # The checkout that is left on the host of the database may be old.
    old = app("database", "web", version=(4, 2, 0), address="192.0.2.5", keys={"SECRET_KEY_BASE": "old"})
    old["services"]["units"][1]["intended"] = False
    assert between(three(db1=old)) == {}


def test_sidekiq_is_told_once():
    facts = three()
    for host in ("web1", "w1"):
        facts[host]["sidekiq"] = sidekiq(unconsumed=QUEUES)
    facts["w1"]["services"] = units("sidekiq", state="inactive")
    found = diagnose(facts)
    assert (causes(found, "w1"), causes(found, "web1")) == ({"sidekiq_not_running": None}, {})
    # Just started: the host that runs it knows, and the others have nothing to say.
    facts["w1"]["services"] = units("sidekiq")
    facts["w1"]["services"]["units"][0]["since_epoch"] = hosts.NOW - 3
    found = diagnose(facts)
    assert (causes(found, "w1"), causes(found, "web1")) == ({}, {})
    # The host of Sidekiq could not be looked at: somebody must tell.
    del facts["w1"]
    assert causes(diagnose(facts, unreachable={"w1": "unreachable"}), "web1") == {"sidekiq_not_running": None}


def test_a_queue_without_worker_is_told_by_one_of_two():
    facts = three(w2=app("sidekiq", address="192.0.2.3"))
    for host in ("web1", "w1", "w2"):
        facts[host]["sidekiq"] = sidekiq(("w1", QUEUES[:3]), ("w2", QUEUES[3:6]), unconsumed=["fasp"])
    found = diagnose(facts)
    assert [causes(found, host) for host in ("web1", "w1", "w2")] == [{}, {"sidekiq_queue_missing": None}, {}]


def test_a_waiver_of_an_instance():
    facts = three(w1=app("sidekiq", version=(4, 4, 21), address="192.0.2.2"))
    waiver = {"id": "version_drift", "reason": "this week", "until": "2025-11-20"}
    found = diagnose(facts, waivers=_waivers.read_waivers([{**waiver, "host": "mastodon.example"}], catalogue()))
    assert found["fleet"]["waived"][0]["reason"] == "this week"
    assert found["verdict"] == "clear"
    assert between(facts, waivers=_waivers.read_waivers([{**waiver, "host": "web1"}], catalogue()))


def test_every_report_shows_what_is_between_hosts():
    found = diagnose(three(w1=app("sidekiq", version=(4, 4, 21), address="192.0.2.2")))
    assert view.worst_severity(found) == "warning"
    page = html.render(found)
    assert "mastodon.example (instance)" in page and "Faults between the hosts, seen on 3 servers together" in page
    for text in (terminal.render(found), markdown.render(found), junit.render(found)):
        assert "mastodon.example (instance)" in text.replace("\\", "") and "version" in text
    assert 'failures="1"' in junit.render(found).split("\n")[1]


def issue(**changes):
    data = {
        "id": "own", "scope": "fleet", "title": {"en": "T", "fr": "T"}, "severity": "error", "component": "web",
        "needs": ["install.version"], "when": "hosts | length > 2", "advice": {"en": "A", "fr": "A"}, "fix": None,
        "no_fix": {"en": "N", "fr": "N"}, "sources": [{"title": "S", "url": "https://example.org/"}],
    }  # fmt: skip
    return {key: value for key, value in {**data, **changes}.items() if value != "absent"}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"fix": {"name": "start_services", "impact": "start"}}, 'key "fix": must be null where the scope is fleet'),
        ({"signatures": {}}, 'key "signatures": is not a known key'),
        ({"needs": "absent"}, 'key "needs": is missing'),
        ({"scope": "world"}, 'key "scope": "world" is not one of host, fleet'),
        ({"scope": "host", "shared": {"by": "web"}}, 'key "shared.by": "web" is not one of sidekiq, redis'),
    ],
)
def test_mistakes_are_named(change, key):
    with pytest.raises(IssueError) as error:
        read_issue(issue(**change), "own")
    assert key in str(error.value)


def test_facts_of_one_host_are_not_known_between_hosts(tmp_path):
    (tmp_path / "own.yml").write_text(json.dumps(issue(when="database.reachable")), encoding="utf-8")
    with pytest.raises(_catalogue.CatalogueError, match="hosts, of which each has the facts"):
        _catalogue.load([str(tmp_path)])
