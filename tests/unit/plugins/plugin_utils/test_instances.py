# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts are put together to instances, and which of them serves which is known by addresses."""

from __future__ import annotations

from ansible_collections.fediops.mastodon.plugins.plugin_utils._instances import Instances

LOCAL = "/var/run/postgresql:5432"


def app(domain="one.example", roles=("web",), database="db.internal:5432", addresses=(), resolved=None, **more):
    host = {"addresses": list(addresses), "resolved": resolved or {}}
    install = {"found": True, "roles": list(roles), "domain": domain}
    return {"host": host, "install": install, "database": {"address": database, "name": "mastodon_production"}, **more}


def server(roles, addresses=(), **host):
    return {"host": {"addresses": list(addresses), **host}, "install": {"found": False, "roles": list(roles)}}


def hosts_of(facts):
    return {instance.name: instance.hosts for instance in Instances(facts).all}


def test_a_server_belongs_to_those_who_use_its_address():
    facts = {
        "web1": app(resolved={"db.internal": ["192.0.2.5"]}),
        "db1": server(["database"], ["192.0.2.5"]),
        "other": app("two.example", database="192.0.2.6:5432"),
        "db2": server(["database"], ["192.0.2.6", "2001:db8::6"]),
    }
    assert hosts_of(facts) == {"one.example": ("web1", "db1"), "two.example": ("other", "db2")}
    found = Instances(facts)
    assert found.serves("db1", "web1", "database")
    assert not found.serves("db2", "web1", "database")
    assert not found.serves("db1", "web1", "redis")
    assert not found.serves("web1", "db1", "database")


def test_a_server_can_be_of_two_instances():
    facts = {
        "a": app("one.example", database="192.0.2.5:5432"),
        "b": {**app("two.example", database="192.0.2.5:5432"), "database": {"address": "192.0.2.5:5432", "name": "another"}},
        "db": server(["database"], ["192.0.2.5"]),
    }
    assert hosts_of(facts) == {"one.example": ("a", "db"), "two.example": ("b", "db")}
    assert Instances(facts).serves("db", "b", "database")
    assert not Instances(facts).together("a", "b")


def test_a_name_that_two_resolve_differently_is_the_asking_hosts():
    """split-horizon DNS, /etc/hosts: what counts is where it leads from the host that asks."""
    facts = {
        "web1": app(resolved={"db.internal": ["192.0.2.5"]}),
        "web2": app(resolved={"db.internal": ["192.0.2.6"]}),
        "db1": server(["database"], ["192.0.2.5"]),
        "db2": server(["database"], ["192.0.2.6"]),
    }
    found = Instances(facts)
    assert found.serves("db1", "web1", "database") and not found.serves("db1", "web2", "database")
    assert found.serves("db2", "web2", "database") and not found.serves("db2", "web1", "database")


def test_an_address_that_every_host_has_is_ones_own():
    facts = {
        "web1": app(database="172.17.0.1:5432", addresses=["172.17.0.1", "192.0.2.1"]),
        "db1": server(["database"], ["172.17.0.1", "192.0.2.5"]),
    }
    assert Instances(facts).owner("web1", "172.17.0.1:5432") == "web1"
    assert not Instances(facts).serves("db1", "web1", "database")


def test_behind_an_address_of_nobody_is_the_only_server_there_is():
    facts = {"web1": app(database="192.0.2.99:5432"), "db1": server(["database"], ["192.0.2.5"])}
    assert Instances(facts).serves("db1", "web1", "database")
    facts["db2"] = server(["database"], ["192.0.2.6"])
    assert not Instances(facts).serves("db1", "web1", "database")  # which of them is not known


def test_a_pooler_of_ones_own_leads_to_the_database_of_another():
    facts = {"web1": app(roles=("web", "pooler"), database="127.0.0.1:6432"), "db1": server(["database"], ["192.0.2.5"])}
    assert Instances(facts).serves("db1", "web1", "database")
    facts["web1"]["install"]["roles"] = ["web", "pooler", "database"]
    assert not Instances(facts).serves("db1", "web1", "database")
    facts["web1"]["install"]["roles"] = ["web"]
    assert not Instances(facts).serves("db1", "web1", "database")


def test_the_variable_decides():
    facts = {
        "web1": app("one.example", database="192.0.2.99:5432"),
        "web2": app("two.example", database="192.0.2.98:5432"),
        "db": server(["database"], ["192.0.2.5"], instance="two.example"),
    }
    assert hosts_of(facts) == {"one.example": ("web1",), "two.example": ("web2", "db")}
    del facts["db"]["host"]["instance"]
    assert hosts_of(facts) == {"one.example": ("web1",), "two.example": ("web2",)}


def test_who_uses_its_own_is_served_by_nobody():
    both = app(roles=("web", "database"), database=LOCAL, addresses=["192.0.2.1"])
    facts = {"web1": both, "web2": app(database="192.0.2.1:5432", addresses=["192.0.2.2"])}
    found = Instances(facts)
    assert found.serves("web1", "web2", "database") and not found.serves("web2", "web1", "database")
    # Each looks for it at the other: neither knows more than the other, and nothing goes in a circle.
    facts = {
        "web1": app(roles=("web", "database"), database="192.0.2.2:5432", addresses=["192.0.2.1"]),
        "web2": app(roles=("web", "database"), database="192.0.2.1:5432", addresses=["192.0.2.2"]),
    }
    found = Instances(facts)
    assert not found.serves("web1", "web2", "database") and not found.serves("web2", "web1", "database")


def test_a_proxy_finds_the_web_server_it_passes_requests_to():
    endpoints = {"endpoints": [{"address": "192.0.2.2:3000"}]}
    facts = {
        "proxy": {**server(["proxy"], ["192.0.2.1"]), "web": endpoints},
        "web1": app(addresses=["192.0.2.2"], web={"endpoints": [{"address": "0.0.0.0:3000"}]}),
        "web2": app("two.example", database="x:5432"),
    }
    assert hosts_of(facts)["one.example"] == ("proxy", "web1")
    assert Instances(facts).serves("web1", "proxy", "web")


def test_strangers_facts_break_nothing():
    for odd in ({}, {"install": []}, {"host": {"addresses": "x"}}, {"database": {"address": 5}}, {"redis": {"uses": {"app": 1}}}):
        facts = {"odd": odd, "db1": server(["database"], ["192.0.2.5"]), "web1": app()}
        found = Instances(facts)
        assert found.serves("db1", "web1", "database") in (True, False)
        assert found.serves("odd", "web1", "database") is False


def test_jobs_are_done_for_those_who_do_none_themselves():
    far = app("two.example", database="far:5432")
    facts = {"web1": app(), "web2": app(roles=("web", "sidekiq")), "jobs": app(roles=("sidekiq",)), "far": far}
    found = Instances(facts)
    assert found.serves("jobs", "web1", "sidekiq") and found.serves("web2", "web1", "sidekiq")
    assert not any(found.serves("jobs", host, "sidekiq") for host in ("web2", "jobs", "far"))
    assert not found.serves("web1", "jobs", "sidekiq")
