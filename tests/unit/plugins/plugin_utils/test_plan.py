# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A diagnosis becomes a plan: order, permission, escalation, once a database."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils._fixes import FIXES, IMPACTS, PHASES
from ansible_collections.fediops.mastodon.plugins.plugin_utils._instances import groups
from ansible_collections.fediops.mastodon.plugins.plugin_utils._plan import (
    DAY_SECONDS,
    OPTIONS,
    Done,
    PlanError,
    Policy,
    check_build_host,
    plan,
    policy_of,
)

NOW = 1_763_637_600.0
ISSUES = ("pending_migrations", "disk_full", "web_down_502", "redis_down", "assets_stale", "web_errors_5xx", "streaming_down")
ALL = Policy("rebuild")


def finding(issue="web_down_502", fix="start_services", rank=1, explains=(), **more):
    remedy = {"name": fix, "impact": FIXES[fix].impact, **more} if fix else None
    return {"id": issue, "rank": rank, "explains": list(explains), "fix": remedy}


def host(*findings, **more):
    return {"findings": list(findings), **more}


def facts(domain="one.example", runs=(), roles=("web", "sidekiq"), address="db.internal:5432"):
    install = {"found": True, "roles": list(roles), **({"domain": domain} if domain else {})}
    database = {"address": address, "name": "mastodon_production"}
    return {"time_epoch": NOW, "install": install, "database": database, "remediation": {"runs": list(runs), "cured": {}}}


def planned(*findings, policy=ALL, tried=frozenset(), known=None, **more):
    return plan({"hosts": {"web1": host(*findings, **more)}}, {"web1": known or facts()}, policy, tried=tried)["hosts"]["web1"]["steps"]


def run(issue="web_down_502", fix="start_services", ago=60.0, state="settled", step_state="kept", reason="", covers=None):
    step = {"fix": fix, "issues": [issue], "covers": [issue] if covers is None else covers, "state": step_state, "reason": reason}
    return {"id": "x", "started_epoch": NOW - ago, "finished_epoch": NOW - ago, "state": state, "steps": [step]}


def test_only_root_causes_with_a_fix_are_planned():
    steps = planned(
        finding("disk_full", "reclaim_disk", explains=["redis_down"]), finding("redis_down", rank=2), finding("web_down_502", None)
    )
    assert [(step["fix"], step["issues"], step["covers"]) for step in steps] == [
        ("reclaim_disk", ["disk_full"], ["disk_full", "redis_down"])
    ]


def test_one_fix_once_for_all_issues_that_name_it():
    (step,) = planned(
        finding("web_down_502", options={"roles": "web"}),
        finding("redis_down", options={"roles": "redis,web"}, explains=["web_errors_5xx"]),
    )
    assert step["issues"] == ["web_down_502", "redis_down"]
    assert step["covers"] == ["web_down_502", "redis_down", "web_errors_5xx"]
    assert step["options"] == {"roles": "web,redis"}


def test_an_issue_that_names_no_option_wants_the_whole():
    (step,) = planned(finding("web_down_502", options={"roles": "web"}), finding("redis_down"))
    assert step["options"] == {}


def test_the_policy_names_what_would_allow_a_step():
    (step,) = planned(finding("pending_migrations", "migrate_database"), policy=Policy("restart"))
    assert (step["allowed"], step["allow_with"]) == (False, "-e mastodon_remediate_impact=schema")
    assert "schema" in step["why_not"]["en"] and "schema" in step["why_not"]["fr"]


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (Policy(only=("start_services",)), True), (Policy(only=("web_down_502",)), True), (Policy(only=("disk_full",)), False),
        (Policy(skip=("start_services",)), False), (Policy(skip=("web_down_502",)), False), (Policy(skip=("disk_full",)), True),
    ],
)  # fmt: skip
def test_only_and_skip(policy, allowed):
    (step,) = planned(finding(), policy=policy)
    assert step["allowed"] is allowed
    assert allowed or "mastodon_remediate_" in step["why_not"]["fr"]


def test_a_step_goes_on_for_the_issues_that_are_not_left_out():
    steps = planned(finding("web_down_502"), finding("redis_down"), policy=Policy(skip=("redis_down",)))
    assert [(step["issues"], step["allowed"]) for step in steps] == [(["web_down_502"], True), (["redis_down"], False)]


@pytest.mark.parametrize(("option", "name"), [("only", "start_servces"), ("skip", "nobody_knows_this")])
def test_an_unknown_name_is_named(option, name):
    options = {key: spec["default"] for key, spec in OPTIONS.items()}
    with pytest.raises(PlanError, match=f'mastodon_remediate_{option}: "{name}" is neither a fix nor a known issue'):
        policy_of({**options, option: [name]}, ISSUES)


def test_known_names_are_taken():
    options = {key: spec["default"] for key, spec in OPTIONS.items()}
    assert policy_of({**options, "only": ["disk_full", "add_swap"]}, ISSUES).only == ("disk_full", "add_swap")


def test_a_build_host_that_nobody_knows_is_named():
    check_build_host(Policy(build_host="web1"), ["web1"])
    check_build_host(Policy(), [])
    with pytest.raises(PlanError, match='"web" is no host of the inventory; did you mean "web1"'):
        check_build_host(Policy(build_host="web"), ["web1", "db"])


def test_recorded_facts_are_planned_and_never_applied():
    (step,) = planned(finding(), recorded=True)
    assert step["allowed"] is False


def test_three_cures_in_a_day_are_escalated():
    assert planned(finding(), known=facts(runs=[run(), run()]))[0]["allowed"]
    (step,) = planned(finding(), known=facts(runs=[run(), run(), run(ago=DAY_SECONDS - 1)]))
    assert (step["allowed"], step["escalated"]) == (False, True)


@pytest.mark.parametrize(
    "other",
    [
        run(ago=DAY_SECONDS + 1), run(state="rolled_back"), run(step_state="undone"), run("redis_down"),
        run(reason="not judged: interrupted"),
        run(covers=[]), "garbage", {"state": "settled", "steps": "x", "finished_epoch": "y"},
    ],
)  # fmt: skip
def test_what_is_no_cure_does_not_count(other):
    assert planned(finding(), known=facts(runs=[run(), run(), other]))[0]["allowed"]


def test_what_takes_time_is_not_done_again_the_same_day():
    remedy = finding("disk_full", "tune_concurrency", judged=False)
    (step,) = planned(remedy)
    assert step["allowed"] and step["covers"] == []
    (step,) = planned(remedy, known=facts(runs=[run("disk_full", "tune_concurrency", 7200.0, covers=[])]))
    assert not step["allowed"] and "2 h" in step["why_not"]["en"]


def test_what_was_tried_is_not_planned_again():
    assert planned(finding(), tried={("web_down_502", "start_services")}) == []
    assert planned(finding(), tried={("web_down_502", "restart_services")}) != []


def test_assets_come_from_the_build_host():
    (step,) = planned(finding("assets_stale", "rebuild_assets"), policy=Policy("change", build_host="build1"))
    assert (step["fix"], step["options"]) == ("copy_assets", {"build_host": "build1"})
    (step,) = planned(finding("assets_stale", "rebuild_assets"), policy=Policy("change", build_host="web1"))
    assert step["fix"] == "rebuild_assets"


def both(**more):
    known = {"web1": facts(), "web2": facts(**more)}
    migration = finding("pending_migrations", "migrate_database")
    return {"hosts": {"web1": host(migration), "web2": host(migration)}}, known


def test_a_shared_database_is_migrated_once_and_the_others_restart():
    hosts = plan(*both(), ALL)["hosts"]
    assert [step["fix"] for step in hosts["web1"]["steps"]] == ["migrate_database"]
    (step,) = hosts["web2"]["steps"]
    assert (step["fix"], step["options"], step["after"], step["covers"]) == ("restart_services", {"roles": "web,sidekiq"}, "web1", [])


def test_another_instance_migrates_its_own():
    hosts = plan(*both(domain="two.example", address="/var/run/postgresql:5432"), ALL)["hosts"]
    assert [step["fix"] for step in hosts["web2"]["steps"]] == ["migrate_database"]


def test_after_the_migration_the_others_restart_although_nothing_is_pending_any_more():
    diagnosis, known = both()
    diagnosis["hosts"]["web2"] = host()
    done = {("migrate_database", "web1"): Done("web1", ("pending_migrations",))}
    assert [step["fix"] for step in plan(diagnosis, known, ALL, hosts=["web2"], done=done)["hosts"]["web2"]["steps"]] == [
        "restart_services"
    ]
    assert plan(diagnosis, known, ALL, hosts=["web2"])["hosts"]["web2"]["steps"] == []


def test_after_the_migration_the_others_restart_once():
    diagnosis, known = both()
    diagnosis["hosts"]["web2"] = host()
    done = {("migrate_database", "web1"): Done("web1", ("pending_migrations",))}
    tried = {("pending_migrations", "restart_services")}
    assert plan(diagnosis, known, ALL, hosts=["web2"], done=done, tried=tried)["hosts"]["web2"]["steps"] == []


def test_after_a_failed_migration_nobody_tries_again():
    diagnosis, known = both()
    done = {("migrate_database", "web1"): Done("web1", ("pending_migrations",), worked=False)}
    (step,) = plan(diagnosis, known, ALL, hosts=["web2"], done=done)["hosts"]["web2"]["steps"]
    assert (step["fix"], step["allowed"]) == ("migrate_database", False)
    assert "web1" in step["why_not"]["en"]


def test_groups():
    local = "/var/run/postgresql:5432"
    known = {
        "a1": facts("a"), "a2": facts("a", address=local), "b1": facts("b", address=local), "b2": facts("c"),
    }  # fmt: skip
    assert groups(known) == {"a1": "a1", "a2": "a1", "b1": "b1", "b2": "a1"}  # b2 shares the database of a1 over the network
    known["db"] = facts("", roles=("database",), address=local)
    assert len(set(groups(known).values())) == 1  # it may serve any of them


remedies = st.builds(
    finding, issue=st.sampled_from(ISSUES), fix=st.sampled_from([None, *FIXES]), rank=st.integers(1, 3),
    explains=st.lists(st.sampled_from(ISSUES), max_size=3),
)  # fmt: skip
policies = st.builds(
    Policy, impact=st.sampled_from(IMPACTS), only=st.lists(st.sampled_from([*FIXES, *ISSUES]), max_size=3).map(tuple),
    skip=st.lists(st.sampled_from([*FIXES, *ISSUES]), max_size=3).map(tuple),
)  # fmt: skip


@given(st.lists(remedies, max_size=6, unique_by=lambda each: each["id"]), policies)
def test_any_plan_keeps_order_and_policy(findings, policy):
    steps = planned(*findings, policy=policy)
    phases = [PHASES.index(step["phase"]) for step in steps]
    assert phases == sorted(phases)
    allowed = [step for step in steps if step["allowed"]]
    assert len({step["fix"] for step in allowed}) == len(allowed)
    for step in steps:
        assert ("why_not" in step) is not step["allowed"]
    for step in allowed:
        assert IMPACTS.index(step["impact"]) <= IMPACTS.index(policy.impact)
        for issue in step["issues"]:
            assert not policy.leaves_out(step["fix"], issue)
    due = {(each["id"], each["fix"]["name"]) for each in findings if each["rank"] == 1 and each["fix"]}
    assert {(issue, step["fix"]) for step in steps for issue in step["issues"]} == due
