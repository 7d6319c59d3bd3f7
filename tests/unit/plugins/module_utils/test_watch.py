# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch: conditions, forecast, episodes."""

from __future__ import annotations

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._watch import conditions, episodes, forecast
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.conditions import CLEAR, FIRING, QUIET, UNKNOWN, Condition

GB = 1 << 30
EXPLAINS = {
    "db_connection_refused": {"web_errors_5xx": True, "sidekiq_backlog": True},
    "disk_full": {"web_errors_5xx": True, "db_connection_refused": False},
    "sidekiq_not_running": {"sidekiq_backlog": True},
}


def facts(**parts):
    found = {
        "time_epoch": 1000.0,
        "install": {"found": True, "deployment": "systemd", "roles": ["web", "sidekiq", "proxy"]},
        "probes": {"sidekiq": {"state": "ok"}, "logs": {"state": "ok"}},
        "logs": {
            "read_origins": ["web", "proxy"],
            "requests": {"total": 100, "by_status": {"200": 100}, "server_errors": 0},
            "posts": {"total": 2, "failed": 0, "last_ok_epoch": 900.0},
            "exceptions": [],
            "signatures": {},
        },
        "services": {"units": [unit("mastodon-sidekiq.service", "sidekiq"), unit("nginx.service", "proxy")]},
        "sidekiq": {
            "processes": [{"queues": ["default"]}],
            "queues": [{"name": "default", "size": 0, "latency_seconds": 0.0, "consumed": True}],
            "unconsumed_queues": [],
        },
        "database": {"reachable": True, "address": "/run:5432"},
        "redis": {"uses": {"app": {"reachable": True, "writable": True}}},
        "web": {"endpoints": [{"address": "127.0.0.1:3000", "healthy": True, "status": 200}]},
        "streaming": {"endpoints": []},
        "disk": {"filesystems": [filesystem()]},
    }
    found.update(parts)
    return found


def unit(name, role, **more):
    return {"name": name, "role": role, "intended": True, "shim": False, "active_state": "active", "result": "success", **more}


def filesystem(**more):
    return {
        "mount": "/", "size_bytes": 100 * GB, "available_bytes": 50 * GB, "used_percent": 50.0, "inodes_used_percent": 10.0,
        "read_only": False, "exhausted": False, **more,
    }  # fmt: skip


def judged(known=(), history=None, **parts):
    found = conditions.judge(facts(**parts), history or {}, {}, frozenset(known))
    assert len({each.key for each in found}) == len(found)
    return {each.key: each for each in found}


def logs(**more):
    return {**facts()["logs"], **more}


def test_healthy_is_clear():
    assert {each.state for each in judged().values()} == {CLEAR}


@pytest.mark.parametrize(
    ("errors", "total", "known", "state"),
    [
        (0, 0, (), QUIET),
        (4, 10, (), CLEAR),
        (5, 10, (), FIRING),
        (5, 100000, (), CLEAR),  # strangers provoke single errors on any big server
        (3, 300, ("server_errors",), FIRING),  # ends only well below what raised it
        (2, 300, ("server_errors",), CLEAR),
    ],
)
def test_answers_5xx(errors, total, known, state):
    requests = {"total": total, "by_status": {"500": errors, "200": total - errors}, "server_errors": errors}
    assert judged(known, logs=logs(requests=requests))["server_errors"].state == state


def test_answers_of_a_proxy_without_mastodon_count():
    proxy = {"total": 20, "by_status": {"502": 20}, "server_errors": 20}
    idle = {"total": 0, "by_status": {}, "server_errors": 0}
    found = judged(logs=logs(requests=idle, proxy_requests=proxy))["server_errors"]
    assert found.state == FIRING and "502 x 20" in found.text


def test_logs_that_could_not_be_read_are_unknown():
    found = judged(logs=None, probes={"logs": {"state": "denied", "reason": "no"}})
    assert {found[key].state for key in ("server_errors", "failed_posts")} == {UNKNOWN}
    assert found["watch_blind"].state == FIRING and "logs: no" in found["watch_blind"].text
    assert judged(logs=logs(read_origins=["kernel"]))["failed_posts"].state == UNKNOWN


@pytest.mark.parametrize(
    ("posts", "state"),
    [
        ({"total": 0, "failed": 0}, QUIET),
        ({"total": 1, "failed": 1, "last_failed_epoch": 990.0}, FIRING),
        ({"total": 2, "failed": 1, "last_failed_epoch": 990.0, "last_ok_epoch": 995.0}, CLEAR),
        ({"total": 2, "failed": 1, "last_failed_epoch": 990.0, "last_ok_epoch": 985.0}, FIRING),
    ],
)
def test_failed_posts(posts, state):
    assert judged(logs=logs(posts=posts))["failed_posts"].state == state


@pytest.mark.parametrize(
    ("name", "latency", "known", "state"),
    [
        ("default", 299, (), CLEAR),
        ("default", 300, (), FIRING),
        ("default", 160, ("sidekiq_backlog",), FIRING),
        ("default", 149, ("sidekiq_backlog",), CLEAR),
        ("pull", 3599, (), CLEAR),
        ("pull", 3600, (), FIRING),
    ],
)
def test_latency(name, latency, known, state):
    queues = [{"name": name, "size": 3, "latency_seconds": float(latency), "consumed": True}]
    found = judged(known, sidekiq={**facts()["sidekiq"], "queues": queues})
    assert found["sidekiq_backlog"].state == state


def test_redis_that_is_silent_makes_sidekiq_unknown_and_is_found_itself():
    refused = {"reachable": False, "error": {"kind": "refused"}}
    found = judged(sidekiq={"error": {"kind": "refused", "message": "x"}}, redis={"uses": {"app": refused, "sidekiq": refused}})
    assert found["sidekiq_backlog"].state == UNKNOWN
    assert (found["redis"].state, found["redis"].issue) == (FIRING, "redis_down")


def test_what_is_switched_off_is_no_fault():
    units = [unit("mastodon-sidekiq.service", "sidekiq", intended=False, active_state="inactive")]
    assert "unit_sidekiq" not in judged(services={"units": units})
    units = [unit("mastodon-sidekiq.service", "sidekiq", active_state="failed", result="exit-code")]
    assert judged(services={"units": units})["unit_sidekiq"].state == FIRING


def test_web_that_boots_is_not_down():
    booting = {"address": "a", "healthy": False, "booting": True, "error": {"kind": "refused"}}
    assert judged(web={"endpoints": [booting]})["endpoint_web"].state == CLEAR
    assert judged(web={"endpoints": [{**booting, "booting": False}]})["endpoint_web"].state == FIRING


def test_database_kinds_lead_to_their_issue():
    for kind, issue in (("auth", "db_auth_failed"), ("too_many", "db_too_many_connections"), ("timeout", "db_connection_refused")):
        assert judged(database={"reachable": False, "error": {"kind": kind}})["database"].issue == issue


def test_full_disk_and_forecast():
    falling = [[hour * 600.0, (50 - hour) * GB] for hour in range(10)]
    found = judged(history={"/": falling})
    assert found["disk_forecast"].state == FIRING and "full in 7 hours" in found["disk_forecast"].text
    found = judged(disk={"filesystems": [filesystem(exhausted=True, available_bytes=0)]})
    assert (found["disk_full"].state, found["disk_forecast"].state) == (FIRING, QUIET)
    assert judged(disk={"filesystems": [filesystem(exhausted=True, read_only=True)]})["disk_full"].state == CLEAR


def test_forecast_is_not_moved_by_a_rotation():
    steady = [[minute * 600.0, 50.0 * GB] for minute in range(30)]
    assert forecast.hours_until_full(steady, 100 * GB) is None
    jump = [[when, free - (5 * GB if when > 9000 else 0)] for when, free in steady]
    assert forecast.hours_until_full(jump, 100 * GB) is None
    falling = [[when, free - when / 3600 * GB] for when, free in steady]
    assert forecast.hours_until_full(falling, 100 * GB) == pytest.approx(45.2, abs=0.1)
    falling[15][1] += 20 * GB
    assert forecast.hours_until_full(falling, 100 * GB) == pytest.approx(45.2, abs=0.1)
    assert forecast.hours_until_full(falling[:3], 100 * GB) is None


def test_history_is_small():
    history = {}
    for second in range(0, 48 * 3600, 300):
        history = forecast.remember(history, {"/": 1.0, "/srv": 2.0}, float(second))
    assert len(history["/"]) <= 37
    assert set(forecast.remember(history, {"/": 1.0}, 48 * 3600.0)) == {"/"}


# -- episodes ----------------------------------------------------------------------------------------------------------


def condition(key, issue, state=FIRING, severity="error", ids=()):
    return Condition(key, issue, severity, state, f"text of {key}", ids)


class Story:
    """Passes, five minutes apart."""

    def __init__(self):
        self.state, self.now = {}, 0.0

    def pass_(self, *found, later=300.0):
        self.now += later
        notices = episodes.step(self.state, list(found), self.now, EXPLAINS, 2)
        self.last = notices
        return [(each["event"], each["issue"]) for each in notices]


def test_once_at_its_begin_and_once_at_its_end():
    story = Story()
    down, up = condition("database", "db_connection_refused", severity="critical"), condition("database", "db_connection_refused", CLEAR)
    assert story.pass_(up) == []
    assert story.pass_(down) == [("alert", "db_connection_refused")]
    assert [story.pass_(down) for _time in range(20)] == [[]] * 20
    assert story.pass_(up) == []
    assert story.pass_(down) == []
    assert story.pass_(up) == []
    assert story.pass_(up) == [("clear", "db_connection_refused")]
    assert [story.pass_(up) for _time in range(20)] == [[]] * 20
    assert story.state["episodes"] == []


def test_symptoms_join_their_cause_and_are_told_with_it():
    story = Story()
    errors = condition("server_errors", "web_errors_5xx", ids=("id-1",))
    down = condition("database", "db_connection_refused", severity="critical")
    assert story.pass_(errors, down) == [("alert", "db_connection_refused")]
    assert story.last[0]["request_ids"] == ["id-1"] and "text of server_errors" in story.last[0]["text"]
    assert story.pass_(errors, down, condition("backlog", "sidekiq_backlog", severity="warning")) == []
    clear = [condition(each, "x", CLEAR) for each in ("server_errors", "database", "backlog")]
    assert story.pass_(*clear) + story.pass_(*clear) == [("clear", "db_connection_refused")]


def test_a_worse_cause_found_later_is_told_and_one_all_clear_ends_both():
    story = Story()
    assert story.pass_(condition("server_errors", "web_errors_5xx")) == [("alert", "web_errors_5xx")]
    first = story.last[0]["id"]
    assert story.pass_(condition("database", "db_connection_refused", severity="critical")) == [("alert", "db_connection_refused")]
    clear = [condition(each, "x", CLEAR) for each in ("server_errors", "database")]
    assert story.pass_(*clear) + story.pass_(*clear) == [("clear", "db_connection_refused")]
    assert story.last[0]["also"] == [first]


def test_a_forecast_hides_no_outage():
    story = Story()
    assert story.pass_(condition("disk_forecast", "disk_full", severity="warning")) == [("alert", "disk_full")]
    assert story.pass_(condition("server_errors", "web_errors_5xx")) == [("alert", "web_errors_5xx")]
    assert story.pass_(condition("disk_full", "disk_full", severity="critical")) == [("alert", "disk_full")]


def test_a_cause_that_explains_only_sometimes_is_believed_when_both_begin_together():
    disk, database = (
        condition("disk_full", "disk_full", severity="critical"),
        condition("database", "db_connection_refused", severity="critical"),
    )
    story = Story()
    assert story.pass_(database, disk) == [("alert", "disk_full")]
    story = Story()
    assert story.pass_(disk) == [("alert", "disk_full")]
    assert story.pass_(disk, database, later=7200.0) == [("alert", "db_connection_refused")]


def test_unknown_neither_raises_nor_clears():
    story = Story()
    assert story.pass_(condition("database", "db", UNKNOWN)) == []
    story.pass_(condition("database", "db"))
    assert [story.pass_(condition("database", "db", UNKNOWN)) for _time in range(50)] == [[]] * 50
    assert [story.pass_() for _time in range(50)] == [[]] * 50


def test_silence_proves_nothing_for_an_hour_unless_a_cause_is_seen_to_be_gone():
    story = Story()
    story.pass_(condition("failed_posts", "web_errors_5xx"))
    quiet = condition("failed_posts", "web_errors_5xx", QUIET)
    assert [story.pass_(quiet) for _time in range(12)] == [[]] * 12
    assert story.pass_(quiet) == [("clear", "web_errors_5xx")]
    story = Story()
    story.pass_(condition("failed_posts", "web_errors_5xx"), condition("database", "db_connection_refused", severity="critical"))
    gone = condition("database", "db_connection_refused", CLEAR)
    assert story.pass_(quiet, gone) + story.pass_(quiet, gone) == [("clear", "db_connection_refused")]


def test_what_flaps_gets_quiet():
    story = Story()
    alerts = 0
    for number in range(200):  # down for one pass, up for three
        found = condition("redis", "redis_down", FIRING if number % 4 == 0 else CLEAR)
        alerts += sum(event == "alert" for event, _issue in story.pass_(found))
    assert alerts <= 6, alerts


def test_blindness_is_told_when_it_lasts():
    story = Story()
    blind = condition("watch_blind", "watch_blind", severity="warning")
    assert [story.pass_(blind) for _time in range(4)] == [[], [], [("alert", "watch_blind")], []]
    story = Story()
    for _time in range(10):
        assert story.pass_(blind) == [] and story.pass_(blind._replace(state=CLEAR)) == []
