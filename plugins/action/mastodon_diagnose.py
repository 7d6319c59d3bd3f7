# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts of all hosts of the play become one diagnosis."""

from __future__ import annotations

import time
import typing as t

from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _diagnosis, _options, _play, _run_folder, _this_run, _waivers
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import PlayAction, Result

OPTIONS: dict[str, t.Any] = {
    "waivers": {"type": "list", "elements": "dict", "default": []},
    "waivers_dirs": {"type": "list", "elements": "path", "default": []},
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
}


class ActionModule(PlayAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        result["diagnosis"] = wrap_var(self._diagnosis(variables))  # type: ignore[no-untyped-call]

    def _diagnosis(self, variables: dict[str, t.Any]) -> _diagnosis.Diagnosis:
        now = time.time()
        options = _options.checked(OPTIONS, self._task.args)
        catalogue = _run_folder.catalogue(options["known_issues_dirs"])
        waivers = _waivers.read_waivers(options["waivers"], catalogue, options["waivers_dirs"])
        hosts = list(variables.get("ansible_play_hosts_all") or [variables["inventory_hostname"]])
        facts, missing, mistakes = _play.collect(hosts, variables["hostvars"])
        if mistakes and len(mistakes) == len(hosts):
            raise _options.OptionError(mistakes[0])
        diagnosis = _diagnosis.diagnose(
            facts, catalogue, waivers=waivers, unreachable=missing, now=now, run=_this_run.described(now, facts)
        )
        for host, told in _play.remediations(hosts, variables["hostvars"]).items():
            diagnosis["hosts"][host]["remediation"] = told
        return diagnosis
