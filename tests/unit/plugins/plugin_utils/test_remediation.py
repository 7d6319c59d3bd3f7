# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rounds, verdicts, and what hosts tell each other. The host itself is that of tests/live; here it is played, to be of every kind."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _remediation, _verdict
from ansible_collections.fediops.mastodon.plugins.plugin_utils._plan import Policy
from ansible_collections.fediops.mastodon.plugins.plugin_utils._remediation import Remediation
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import acts
from ansible_collections.fediops.mastodon.plugins.plugin_utils._run_folder import Board
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts, played
from ansible_collections.fediops.mastodon.tests.unit.fixtures.played import Played, down, remediate

board, no_waiting = played.board, played.no_waiting  # the fixtures


def states(told):
    return [(step["fix"], step["state"]) for step in told["steps"]]


def test_the_fixture_is_what_it_is_meant_to_be():
    found = hosts.diagnose({"web1": down()})["hosts"]["web1"]["findings"]
    assert [(finding["id"], finding["fix"]) for finding in found] == [("web_down_502", {"name": "restart_services", "impact": "restart"})]


def test_what_cured_is_kept_with_the_evidence_of_before(board):
    door = Played(hosts.healthy())
    told = remediate(door, board, down())
    assert (states(told), told["rounds"], told["failed"], door.settled) == ([("restart_services", "kept")], 1, [], [{}])
    assert told["steps"][0]["before"] and not told["steps"][0]["after"]


def test_a_healthy_host_is_not_called(board):
    door = Played()
    assert remediate(door, board, hosts.healthy()) == {"rounds": 0, "runs": [], "steps": [], "failed": []}


def test_what_did_not_cure_is_undone_and_not_tried_again(board):
    door = Played(down())
    told = remediate(door, board, down())
    assert states(told) == [("restart_services", "undone")]
    assert "web_down_502 is still found" in told["failed"][0]
    assert told["steps"][0]["before"] == told["steps"][0]["after"] != []
    assert door.begun == [["restart_services"]]


def test_what_is_not_in_effect_is_undone(board):
    door = Played(hosts.healthy(), states={"restart_services": {"not_in_effect": "it is inactive"}})
    assert "not in effect: it is inactive" in remediate(door, board, down())["steps"][0]["reason"]


def test_what_cannot_be_seen_any_more_is_no_cure(board):
    blind = hosts.healthy()
    del blind["web"]
    blind["probes"]["web"] = {"state": "timeout", "seconds": 10.0, "reason": "Puma was not asked"}
    told = remediate(Played(blind), board, down())
    assert states(told) == [("restart_services", "undone")]
    assert "Puma was not asked" in told["steps"][0]["reason"]


def test_a_host_that_got_worse_stops_the_hosts_not_yet_begun(board):
    worse = hosts.healthy(database={"reachable": False, "address": "x:1", "error": {"kind": "refused", "message": "refused"}})
    told = remediate(Played(worse), board, down())
    assert told["worse"] == ["db_connection_refused"]
    assert states(told) == [("restart_services", "undone")]
    late = Played()
    told = remediate(late, board, down())
    assert (told["not_touched"], states(told), late.begun) == ("web1 got worse", [("restart_services", "not_touched")], [])


def test_an_undo_that_did_not_work_stops_the_hosts_not_yet_begun(board):
    applied = {"restart_services": {"reason": "x could not be taken back: y", "state": "undone"}}
    remediate(Played(down(), states=applied), board, down())
    told = remediate(Played(), board, down())
    assert told["not_touched"] == "restart_services could not be taken back on web1"


def test_where_one_host_broke_off_the_others_of_its_instance_stay_up(board):
    remediate(Played(trouble="the connection was lost"), board, down())
    mate = Played()
    assert "of the same instance" in remediate(mate, board, down())["not_touched"]
    board.leave("stopped", "web1", {"why": "broke off", "group": "another"})
    assert "not_touched" not in remediate(Played(hosts.healthy()), board, down())


def test_a_restart_after_the_migration_of_another_host_says_so(board):
    mine = {"host": "web2", "group": "web1", "issues": ["pending_migrations"], "worked": True}
    board.leave("done-migrate_database", "web1", mine)
    door = Played(hosts.healthy())
    told = remediate(door, board, hosts.healthy(), others={"web2": hosts.healthy()})
    (step,) = told["steps"]
    assert (step["fix"], step["state"], step["follows"], step["services_only"]) == ("restart_services", "kept", "web2", True)
    (act,) = acts.acts("web1", {"remediation": told}, {})
    assert act.why["en"].startswith("web2 worked on the database")
    assert acts.notes("web1", {"remediation": told}, {}) == []  # nothing to roll back


def test_a_host_that_built_for_the_others_is_looked_at_again_before_it_builds_anew(board):
    door = Played()
    door.now = hosts.healthy()
    job = Remediation(
        host="web1", door=door, facts={"web1": down()}, catalogue=hosts.catalogue(), waivers=(), policy=Policy("restart"),
        board=board, log_since="1h", check_mode=False, built=True,
    )  # fmt: skip
    assert (job.run()["rounds"], door.begun) == (0, [])


def test_the_role_packs_the_assets_where_it_takes_them_from():
    tasks = yaml.safe_load((_catalogue.OWN_DIRECTORY.parents[2] / "remediate" / "tasks" / "main.yml").read_text(encoding="utf-8"))
    told = {task["name"]: next(value for key, value in task.items() if key.startswith("fediops.")) for task in tasks}
    packed, taken = told["Build and pack the assets"]["dest"], told["Apply the plan, and keep what cured"]["assets_archive"]
    # Not a lookup of DEFAULT_LOCAL_TMP: that makes a new folder each time.
    assert (packed, taken) == ("{{ __mastodon_plan.assets_archive }}", "{{ __mastodon_plan.assets_archive | default(omit) }}")


def test_a_change_is_told_with_its_values_where_they_are_short():
    change_line = _remediation.change_line
    assert change_line({"what": "unit x", "before": "disabled", "after": "enabled"}) == "unit x: disabled -> enabled"
    assert change_line({"what": "unit x", "before": "", "after": "start"}) == "unit x: start"
    assert change_line({"what": "/etc/x", "before": "a\n", "after": "b\n"}) == "/etc/x"
    assert change_line({"what": "journal to 1 GB", "before": "", "after": "journal to 1 GB"}) == "journal to 1 GB"


def test_check_mode_names_a_run_that_was_left_open(board):
    told = remediate(Played(), board, hosts.healthy(remediation={"open": {"id": "x-1"}, "runs": [], "cured": {}}), check_mode=True)
    assert told["left_open"] == "x-1"
    assert "x-1" in acts.notes("web1", {"remediation": told}, {})[0].text["fr"]


def test_what_stays_although_it_did_not_cure_is_named_with_the_way_back(board):
    more = {"only_by_rollback": True, "kept_database": "mastodon_before", "changes": [{"what": "database x becomes mastodon_before"}]}
    door = Played(down(), states={"restart_services": {**more, "state": "failed", "reason": "the finding is still there"}})
    told = remediate(door, board, down())
    assert (told["steps"][0]["only_by_rollback"], told["steps"][0]["kept_database"]) == (True, "mastodon_before")
    act = acts.acts("web1", {"remediation": told}, {})[0]
    assert act.why["en"].startswith("the finding is still there; it stays in effect; only a rollback")
    assert ("act_kept_database", ("mastodon_before",)) in act.details
    assert any("run=run-1" in note.command for note in acts.notes("web1", {"remediation": told}, {}))
    planned = remediate(Played(), board, down(), check_mode=True)
    assert "only_by_rollback" not in planned["steps"][0]


def test_a_refused_step_is_no_failure_and_the_host_settled_it_already(board):
    door = Played(down(), states={"restart_services": {"state": "refused", "reason": "masked", "changes": []}})
    told = remediate(door, board, down())
    assert (states(told), told["failed"], door.settled) == ([("restart_services", "refused")], [], [])


def test_trouble_is_told_and_nothing_is_claimed(board):
    told = remediate(Played(trouble="run x of admin works on this host"), board, down())
    assert told["failed"] == ["run x of admin works on this host"]
    assert told["steps"] == []


def test_what_a_cure_uncovers_is_the_next_round(board):
    refused = {"reachable": False, "address": "x:1", "error": {"kind": "refused", "message": "refused"}}
    blind = down(database=refused)
    del blind["web"]
    blind["probes"]["web"] = {"state": "timeout", "seconds": 10.0}
    door = Played(down(), hosts.healthy())
    told = remediate(door, board, blind)
    assert door.begun == [["start_services"], ["restart_services"]]
    assert (states(told), told["runs"]) == ([("start_services", "kept"), ("restart_services", "kept")], ["run-1", "run-2"])


def test_check_mode_calls_once_and_settles_nothing(board):
    door = Played()
    told = remediate(door, board, down(), check_mode=True)
    assert (states(told), told["check_mode"], door.begun, door.settled) == ([("restart_services", "planned")], True, [], [])


def test_what_is_not_allowed_is_told_with_the_option(board):
    told = remediate(Played(), board, down(), policy=Policy("start"))
    assert (states(told), told["failed"]) == ([("restart_services", "not_allowed")], [])
    assert told["steps"][0]["allow_with"] == "-e mastodon_remediate_impact=restart"


def test_an_open_run_is_finished_although_nothing_is_due(board):
    left = hosts.healthy(remediation={"open": {"id": "x"}, "runs": [], "cured": {}})
    door = Played(hosts.healthy())
    told = remediate(door, board, left)
    assert (door.begun, door.settled, told["rounds"], states(told)) == ([[]], [], 0, [])


@pytest.mark.parametrize(("now", "state"), [(hosts.healthy, "kept"), (down, "undone")])
def test_what_an_interrupted_run_did_completely_is_judged(board, now, state):
    step = {"fix": "restart_services", "issues": ["web_down_502"], "covers": ["web_down_502"], "impact": "restart", "number": 1,
            "state": "applied", "changes": [], "reason": "", "undoable": True}  # fmt: skip

    class Left(Played):
        def begin(self, steps):
            run = super().begin(steps)
            if steps:
                return run
            torn = {**step, "number": 2, "fix": "add_swap", "state": "undone", "reason": "interrupted"}
            self.run = {"id": "left", "state": "acted", "steps": [step, torn]}
            return {**run, "recovered": ["left"], "unjudged": [self.run]}

    left = down(remediation={"open": {"id": "left"}, "runs": [], "cured": {}})
    told = remediate(Left(now(), hosts.healthy()), board, left)
    assert (told["recovered"], states(told)[0]) == (["left"], ("restart_services", state))
    assert not [reason for reason in told["failed"] if "interrupted" in reason], "what the host had taken back is no failure of this run"
    assert len(states(told)) == (1 if state == "kept" else 2), "a fix that an earlier run tried is not out of the question"


def test_a_host_is_looked_at_again_when_another_of_its_instance_was_worked_on(board):
    board.leave("facts", "web2", hosts.healthy())
    door = Played()
    door.now = hosts.healthy()  # what ailed it went with the work on web2
    told = remediate(door, board, down(), others={"web2": down()})
    assert (door.begun, told["rounds"]) == ([], 0)


def test_what_was_unknown_before_is_no_worse():
    before = {"findings": [], "passed": [], "unknown": [{"id": "a", "reason": "x"}]}
    after = {"findings": [{"id": "a", "severity": "critical", "explained_by": None}]}
    assert _verdict.got_worse(before, after) == []
    assert _verdict.got_worse({**before, "passed": ["a"]}, after) == ["a"]


def test_a_new_symptom_of_a_known_cause_is_no_worse():
    cause = {"id": "a", "severity": "critical", "explained_by": None}
    after = {"findings": [cause, {"id": "b", "severity": "error", "explained_by": "a"}]}
    assert _verdict.got_worse({"findings": [cause], "passed": ["b"]}, after) == []
    assert _verdict.got_worse({"findings": [], "passed": ["a", "b"]}, after) == ["a", "b"]


def test_the_board_keeps_a_lock_per_instance(board):
    other, waited = Board("task"), []
    with board.lock("one", lambda: waited.append("no")), other.lock("two", lambda: waited.append("no")):
        assert waited == []


def test_what_is_caused_on_another_host_waits_for_it(board):
    """web1 reaches no database, for the disk of db1 is full: it has nothing to do, and is to be looked at again when db1 was worked on."""
    database = hosts.healthy(disk=hosts.broken()["disk"])
    database["install"] = {"found": False, "roles": ["database"], "searched": []}
    for name in ("database", "web", "sidekiq", "redis", "media"):
        del database[name]
        database["probes"][name] = {"state": "skipped", "seconds": 0.0}
    web = hosts.healthy(database={**hosts.broken()["database"], "address": "db.internal:5432"}, web=hosts.broken()["web"])
    web["install"]["roles"] = ["web"]
    jobs = {
        host: Remediation(
            host=host, door=Played(), facts={"web1": web, "db1": database}, catalogue=hosts.catalogue(), waivers=(),
            policy=Policy("restart"), board=board, log_since="1h", check_mode=True,
        )
        for host in ("web1", "db1")
    }  # fmt: skip
    assert jobs["web1"].waits_for() == {"hosts": ["db1"], "issues": ["db_connection_refused", "web_down_502"]}
    assert jobs["web1"].run()["steps"] == []
    assert jobs["db1"].waits_for() == {"hosts": [], "issues": []}
