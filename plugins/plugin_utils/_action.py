# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action plugins have in common: a mistake becomes one sentence. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake

Result = dict[str, t.Any]
# A host that lost its power or its network answers nothing, and ssh as Ansible starts it waits for hours, until TCP gives up. With three of
# these unanswered it does. ssh takes the first value it is given, and these arguments are the last that Ansible gives.
KEEP_ALIVE = "-o ServerAliveInterval=30"
EXTRA = ("ssh_extra_args", "sftp_extra_args", "scp_extra_args")


class HostAction(ActionBase):
    """Runs for each host. A plugin defines work(), which fills the result or raises a Mistake."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        result["changed"] = False
        self._bound_silence()
        try:
            self.work(variables, result)
        except Mistake as error:
            # bad_input: wrong for the whole run, not for this host; mastodon_diagnose stops when it is so on every host.
            result.update(failed=True, bad_input=True, msg=str(error))
        return result

    def _bound_silence(self) -> None:
        for name in EXTRA if self._connection is not None and self._connection.transport == "ssh" else ():
            given = self._connection.get_option(name) or ""  # type: ignore[no-untyped-call]
            if KEEP_ALIVE not in given:
                self._connection.set_option(name, f"{given} {KEEP_ALIVE}".strip())  # type: ignore[no-untyped-call]

    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        raise NotImplementedError


class PlayAction(HostAction):
    """Runs once for all hosts of the play, on the controller alone."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False
