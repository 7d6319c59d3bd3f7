# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a reader pastes must be what works."""

from __future__ import annotations

import shlex

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import commands

MAKE = {"start": {"make": "make -C /srv/fediops", "inventory": ["my hosts.yml"]}}
BY_HAND = {"start": {"inventory": ["my.yml", "web2,"]}}


def test_the_inventory_of_the_run_goes_along():
    assert commands.roll_back(BY_HAND, "web1", "r-1") == (
        "ansible-playbook fediops.mastodon.rollback -i my.yml -i web2, -e run=r-1 --limit web1"
    )
    lines = {"start": {"lines": True}}
    assert commands.remediate(lines, "x.log", "start_services", "start") == "ansible-playbook fediops.mastodon.remediate -i INVENTORY"
    assert commands.remediate({}, "web1", "start_services", "start") == "ansible-playbook fediops.mastodon.remediate --limit web1"


def test_what_settings_forbid_is_allowed_by_name_although_it_is_a_default():
    told = commands.remediate({}, "web1", "restart_services", "restart", forbidden=True)
    assert told == "ansible-playbook fediops.mastodon.remediate -e mastodon_remediate_impact=restart --limit web1"


def test_who_started_by_make_is_told_of_make():
    told = commands.remediate(MAKE, "web1", "allow_writes", "change")
    assert told == "make -C /srv/fediops remediate INVENTORY='my hosts.yml' LIMIT=web1 ARGS='-e mastodon_remediate_impact=change'"


def test_a_shared_database_is_no_matter_of_one_host():
    told = commands.remediate({}, "web1", "migrate_database", "schema")
    assert "--limit" not in told
    assert told.endswith("-e mastodon_remediate_impact=schema -e mastodon_remediate_only=migrate_database")


def test_the_name_of_a_host_is_one_word():
    name = "web1; rm -rf /"
    assert shlex.split(commands.roll_back({}, name, "r-1"))[-1] == name
    assert shlex.split(commands.roll_back(MAKE, name, "r-1"))[-2] == f"LIMIT={name}"
