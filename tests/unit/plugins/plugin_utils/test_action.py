# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose words ssh gets, and in which order; tests/live/test_vanished_host.py has a host that vanishes."""

from __future__ import annotations

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import EXTRA, KEEP_ALIVE, HostAction, Result


class Connection:
    def __init__(self, transport: str, **options: str) -> None:
        self.transport, self.options = transport, options

    def get_option(self, name: str) -> str | None:
        return self.options.get(name)

    def set_option(self, name: str, value: str) -> None:
        self.options[name] = value


class Action(HostAction):
    def __init__(self, connection: Connection | None) -> None:
        self._connection = connection

    def work(self, variables: dict[str, object], result: Result) -> None:
        raise NotImplementedError


def test_silence_is_bounded_behind_what_others_gave() -> None:
    connection = Connection("ssh", ssh_extra_args="-o ServerAliveInterval=5")
    for _item in range(2):  # of a loop: the connection is the same
        Action(connection)._bound_silence()
    assert connection.options == {**dict.fromkeys(EXTRA, KEEP_ALIVE), "ssh_extra_args": f"-o ServerAliveInterval=5 {KEEP_ALIVE}"}


@pytest.mark.parametrize("connection", [None, Connection("local"), Connection("community.docker.docker")])
def test_other_connections_are_left_alone(connection: Connection | None) -> None:
    Action(connection)._bound_silence()
    assert connection is None or connection.options == {}
