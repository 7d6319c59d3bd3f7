# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts and known issues become a diagnosis."""

from __future__ import annotations

import datetime
import json

import jsonschema
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _waivers
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts

SCHEMA = json.loads(
    (_catalogue.OWN_DIRECTORY.parents[3] / "plugins/plugin_utils/_report/diagnosis.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def diagnose(facts, **options):
    diagnosis = hosts.diagnose(facts, **options)
    VALIDATOR.validate(diagnosis)
    return diagnosis


def only(facts, **options):
    return diagnose({"web1": facts}, **options)["hosts"]["web1"]


def by_id(host):
    return {finding["id"]: finding for finding in host["findings"]}


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_healthy_host_is_clear():
    host = only(hosts.healthy())
    assert (host["verdict"], host["findings"], host["unknown"], host["checked"]) == ("clear", [], [], 6)
    assert host["seconds"] == 1.9


def test_a_full_disk_is_the_one_cause():
    host = only(hosts.broken())
    ranks = {name: (finding["rank"], finding["explained_by"]) for name, finding in by_id(host).items()}
    assert ranks == {
        "disk_full": (1, None),
        "db_connection_refused": (2, "disk_full"),
        "redis_misconf_disk": (2, "disk_full"),
        "web_down_502": (3, "db_connection_refused"),
        "sidekiq_backlog": (3, "db_connection_refused"),
    }
    assert host["findings"][0]["id"] == "disk_full"
    assert set(host["findings"][0]["explains"]) == set(ranks) - {"disk_full"}
    assert host["verdict"] == "faults"


def test_a_conditional_cause_needs_its_condition():
    facts = hosts.broken()
    facts["disk"]["filesystems"][0]["holds"] = ["media"]
    host = by_id(only(facts))
    assert host["db_connection_refused"]["rank"] == 1
    assert host["redis_misconf_disk"]["explained_by"] == "disk_full"


def test_evidence_names_fact_time_and_sample():
    evidence = by_id(only(hosts.broken()))["disk_full"]["evidence"]
    assert evidence[0] == {"fact": "disk.filesystems", "value": "df / 100 %"}
    assert evidence[1] == {
        "fact": "logs.signatures.disk_full.pg_diskfull",
        "value": "pg_diskfull x214 09:20-11:19 UTC",
        "time": hosts.NOW - 7200,
    }
    assert evidence[2] == {"source": "web mastodon-web.service", "value": "PG::DiskFull: could not extend file", "time": hosts.NOW - 60}


def test_a_missing_fact_is_unknown_with_the_reason_of_its_probe():
    facts = hosts.healthy()
    del facts["database"]
    facts["probes"]["database"] = {"state": "denied", "seconds": 0.0, "reason": "run it as root"}
    host = only(facts)
    assert host["unknown"] == [{"id": "db_connection_refused", "reason": "run it as root"}]
    assert host["verdict"] == "incomplete"
    assert host["checked"] == 5


@pytest.mark.parametrize(
    ("state", "reason"),
    [("timeout", "no answer within"), ("skipped", "was not asked for"), ("failed", "could not be read"), ("denied", "no permission")],
)
def test_a_probe_without_a_reason_gets_one(state, reason):
    facts = hosts.healthy()
    del facts["media"]
    facts["probes"]["media"] = {"state": state, "seconds": 0.0}
    assert reason in only(facts)["unknown"][0]["reason"]


def test_a_true_item_beats_an_undecided_one():
    facts = hosts.broken()
    del facts["logs"]  # seen() of redis_misconf_disk cannot be answered
    assert by_id(only(facts))["redis_misconf_disk"]["state"] == "found"
    healthy = hosts.healthy()
    del healthy["logs"]
    healthy["probes"]["logs"] = {"state": "timeout", "seconds": 10.0, "reason": "journal too slow"}
    assert only(healthy)["unknown"] == [{"id": "redis_misconf_disk", "reason": "journal too slow"}]


def test_counter_evidence_clears():
    facts = hosts.broken()
    facts["services"]["units"][0]["active_state"] = "reloading"
    host = only(facts)
    assert "web_down_502" not in by_id(host)
    assert "web_down_502" in host["passed"]


@pytest.mark.parametrize("version", [[3, 4, 9], [9, 0, 0]])
def test_other_versions_are_not_judged(version):
    facts = hosts.healthy()
    facts["install"]["version"]["number"] = version
    facts["media"]["tools"][0]["works"] = False
    host = only(facts)
    assert "media_tools_missing" not in [*by_id(host), *host["passed"], *(entry["id"] for entry in host["unknown"])]


def test_other_roles_are_not_judged():
    facts = hosts.broken()
    facts["install"]["roles"] = ["streaming"]
    assert set(by_id(only(facts))) == {"disk_full", "db_connection_refused", "redis_misconf_disk"}


def test_advice_alone_is_no_fault():
    facts = hosts.healthy()
    facts["media"]["tools"][0]["works"] = False
    assert only(facts)["verdict"] == "advice"


def test_hosts_without_facts_are_incomplete():
    nothing = hosts.healthy(install={"found": False, "searched": ["units that run Puma", "/home/*/live"]})
    diagnosis = diagnose({"bare": nothing, "odd": {"x": 1}, "ok": hosts.healthy()}, unreachable={"gone": "unreachable: no route to host"})
    reasons = {name: host["unknown"] for name, host in diagnosis["hosts"].items()}
    assert reasons["gone"] == [{"id": "host", "reason": "unreachable: no route to host"}]
    assert reasons["bare"] == [{"id": "host", "reason": "no Mastodon found on this host; looked at units that run Puma; /home/*/live"}]
    assert "not those of" in reasons["odd"][0]["reason"]
    assert reasons["ok"] == []
    assert diagnosis["verdict"] == "incomplete"
    assert {diagnosis["hosts"][name]["verdict"] for name in ("gone", "bare", "odd")} == {"incomplete"}


def test_no_hosts_are_not_clear():
    assert diagnose({})["verdict"] == "incomplete"


def two_hosts():
    database = hosts.healthy()
    database["install"] = {"found": False, "roles": ["database"], "searched": []}
    database["disk"] = hosts.broken()["disk"]
    for name in ("web", "sidekiq", "redis", "media"):
        del database[name]
        database["probes"][name] = {"state": "skipped", "seconds": 0.0}
    web = hosts.healthy(database={**hosts.broken()["database"], "address": "db.internal:5432"}, web=hosts.broken()["web"])
    web["install"]["roles"] = ["web"]
    return {"db1": database, "web1": web}


def test_a_cause_on_the_database_host():
    diagnosis = diagnose(two_hosts())
    web = by_id(diagnosis["hosts"]["web1"])
    assert web["db_connection_refused"]["explained_by"] == "db1/disk_full"
    assert (web["web_down_502"]["rank"], web["web_down_502"]["explained_by"]) == (3, "db_connection_refused")
    assert by_id(diagnosis["hosts"]["db1"])["disk_full"]["explains"] == ["web1/db_connection_refused", "web1/web_down_502"]


def test_another_instance_causes_nothing():
    facts = two_hosts()
    facts["db1"]["install"]["domain"] = "elsewhere.example"
    web = by_id(diagnose(facts)["hosts"]["web1"])
    assert web["db_connection_refused"]["explained_by"] is None


def test_a_waiver_holds_to_the_end_of_its_day():
    waivers = _waivers.read_waivers([{"id": "disk_full", "reason": "known", "until": "2025-11-20", "host": "web*"}], hosts.catalogue())
    host = only(hosts.broken(), waivers=waivers)
    assert host["waived"][0]["id"] == "disk_full"
    assert host["waived"][0]["until"] == "2025-11-20"
    assert by_id(host)["db_connection_refused"]["rank"] == 1  # a waived cause hides no outage
    assert "disk_full" in by_id(diagnose({"db1": hosts.broken()}, waivers=waivers)["hosts"]["db1"])


def test_a_finding_behind_a_waived_cause_says_so():
    waivers = [{"id": name, "reason": "known", "until": "2025-11-20"} for name in ("disk_full", "sidekiq_backlog")]
    found = by_id(only(hosts.broken(), waivers=_waivers.read_waivers(waivers, hosts.catalogue())))
    assert found["db_connection_refused"]["note"] == {
        "en": "Its cause is known, disk_full, and waived until 2025-11-20 (known).",
        "fr": "Sa cause est connue, disk_full, et fait l'objet d'une dérogation jusqu'au 2025-11-20 (known).",
    }
    assert "note" not in found["web_down_502"]  # its cause is there to be acted upon
    assert all("note" not in finding for finding in by_id(only(hosts.broken())).values())


def test_an_expired_waiver_reopens_with_a_note():
    waivers = _waivers.read_waivers([{"id": "disk_full", "reason": "known", "until": datetime.date(2025, 11, 19)}], hosts.catalogue())
    finding = by_id(only(hosts.broken(), waivers=waivers))["disk_full"]
    assert "2025-11-19" in finding["note"]["en"]
    assert "2025-11-19" in finding["note"]["fr"]


@pytest.mark.parametrize(
    ("waiver", "reason"),
    [
        ({"id": "disc_full", "reason": "x", "until": "2025-11-20"}, '"disc_full" is not the id'),
        ({"id": "disk_full", "until": "2025-11-20"}, "reason is missing"),
        ({"id": "disk_full", "reason": "x", "until": "soon"}, 'until "soon" is not a day'),
        ({"id": "disk_full", "reason": "x", "until": "20251120"}, "is not a day"),
        ({"id": "disk_full", "reason": "x", "until": "2025-11-20", "hst": "x"}, '"hst" is not a known key'),
        ("disk_full", "must be a mapping"),
    ],
)
def test_a_wrong_waiver_is_named(waiver, reason):
    with pytest.raises(_waivers.WaiverError, match=reason) as error:
        _waivers.read_waivers([waiver], hosts.catalogue())
    assert "mastodon_waivers[0]" in str(error.value)


def test_strangers_text_is_cleaned():
    text = json.dumps(diagnose({"web1": hosts.hostile()}), ensure_ascii=False)
    assert "\x1b" not in text
    assert "\\u001b" not in text
    assert "\u202e" not in text
    assert "{{ lookup('pipe','id') }}" in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["count", "state", "full", "number", "roles", "app", "samples"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["database", "redis", "disk", "web", "sidekiq", "logs", "services", "media"]), JSON))
def test_no_facts_break_the_diagnosis(changes):
    diagnose({"web1": hosts.broken(**changes), "web2": hosts.healthy(**changes)})
