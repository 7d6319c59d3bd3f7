# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose words ssh gets, and in which order; tests/live/test_vanished_host.py has a host that vanishes."""

from __future__ import annotations

import typing as t

import pytest

from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader

from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import EXTRA, KEEP_ALIVE, HostAction, Result


class Action(HostAction):
    def __init__(self, connection: t.Any) -> None:
        self._connection = connection

    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        raise NotImplementedError


def connection_of(name: str) -> t.Any:
    connection = connection_loader.get(name, PlayContext(), "/dev/null")
    connection.set_options()
    return connection


def test_silence_is_bounded_behind_what_others_gave() -> None:
    connection = connection_of("ansible.builtin.ssh")
    connection.set_option("ssh_extra_args", "-o ServerAliveInterval=5")
    for _item in range(2):  # of a loop: the connection is the same
        Action(connection)._bound_silence()
    assert {name: connection.get_option(name) for name in EXTRA} == {
        "ssh_extra_args": f"-o ServerAliveInterval=5 {KEEP_ALIVE}", "sftp_extra_args": KEEP_ALIVE, "scp_extra_args": KEEP_ALIVE,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ansible.builtin.local", ""])
def test_other_connections_are_left_alone(name: str) -> None:
    """They have no such options, and would say so."""
    Action(connection_of(name) if name else None)._bound_silence()
