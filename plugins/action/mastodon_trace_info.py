# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of mastodon_trace_info: the id is judged before anything else sees it; what other hosts found becomes clues."""

from __future__ import annotations

import pathlib
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.module_utils._request_id import checked
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _diagnosis, _options, _play, _run_folder
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import HostAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import branch
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line
from ansible_collections.fediops.mastodon.plugins.plugin_utils._trace import clocks

MODULE = "fediops.mastodon.mastodon_trace_info"
OWN_OPTIONS: dict[str, t.Any] = {
    "known": {"type": "str", "default": ""},
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
}


class ActionModule(HostAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        arguments = dict(self._task.args)
        own = _options.checked(OWN_OPTIONS, {name: arguments.pop(name) for name in OWN_OPTIONS if name in arguments})
        # The variable itself, not rendered: an id that somebody sent us may read "{{ … }}".
        given = arguments.get("request_id", variables.get("request_id"))
        if given is None:
            raise _options.OptionError(
                "name the request: -e request_id=ID, as the header X-Request-Id of its answer gives it (-e request_id= when it had none)"
            )
        try:
            arguments["request_id"] = checked(str(given))
        except ValueError as problem:
            raise _options.OptionError(str(problem)) from None
        directories = [str(pathlib.Path(name).expanduser().absolute()) for name in own["known_issues_dirs"]]
        arguments.setdefault(
            "signatures", _run_folder.remembered("signatures", directories, lambda: _catalogue.signatures(_catalogue.load(directories)))
        )
        first: dict[str, t.Any] = {}
        if own["known"]:
            host = str(variables["inventory_hostname"])
            hosts = list(variables.get("ansible_play_hosts_all") or [host])
            traces, missing, _mistakes = _play.traces(hosts, variables["hostvars"], own["known"])
            if host in missing:
                result.update(failed=True, msg=missing[host])
                return
            first = traces[host]
            arguments["clues"] = clocks.clues_for(host, traces)
            if not arguments["clues"]:
                result["trace"] = wrap_var(first)  # type: ignore[no-untyped-call]
                return
        result.update(self._asked(arguments, variables, first))

    def _asked(self, arguments: dict[str, t.Any], variables: dict[str, t.Any], first: dict[str, t.Any]) -> Result:
        asked = time.time()
        try:
            result = t.cast("Result", self._execute_module(module_name=MODULE, module_args=arguments, task_vars=variables))
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            return {"failed": True, "msg": clean_line(error, 1000)}
        answered = time.time()
        trace = result.get("trace")
        if isinstance(trace, dict):
            trace = _diagnosis.plain(trace)
            clock = branch(trace, "clock")
            found = clocks.offset(float(clock["first_epoch"]), float(clock["last_epoch"]), asked, answered)
            before = clocks.offset_of(first)
            trace["clock"]["offset_seconds"] = list(clocks.narrowed(before, found) if before else found)
            if first:  # what was searched was searched the first time
                trace["left_out"] = max(int(first.get("left_out", 0)), int(trace.get("left_out", 0)))
                trace["sources"] = [*first.get("sources", ()), *(one for one in trace.get("sources", ()) if one.get("truncated"))]
            result["trace"] = wrap_var(trace)  # type: ignore[no-untyped-call]
        return result
