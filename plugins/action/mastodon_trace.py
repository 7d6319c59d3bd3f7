# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Traces of all hosts become one: a file, and a text on the terminal."""

from __future__ import annotations

import json
import os
import pathlib
import time
import typing as t

from ansible.utils.color import ANSIBLE_COLOR
from ansible.utils.display import Display
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.module_utils._request_id import checked
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _options, _play, _run_folder, _this_run
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import PlayAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import trace as trace_report
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import writer
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line
from ansible_collections.fediops.mastodon.plugins.plugin_utils._trace import merge

OPTIONS: dict[str, t.Any] = {
    "found": {"type": "list", "elements": "str", "required": True},
    "directory": {"type": "path", "default": "mastodon-report"},
    "language": {"type": "str", "choices": ["en", "fr"], "default": "en"},
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
    "display": {"type": "str", "choices": ["now", "last", "none"], "default": "now"},
}
FILE = "trace.json"
_MOST_NAMED = 10


class ActionModule(PlayAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        now = time.time()
        options = _options.checked(OPTIONS, self._task.args)
        hosts = list(variables.get("ansible_play_hosts_all") or [variables["inventory_hostname"]])
        traces, missing = _collected(hosts, variables["hostvars"], options["found"])
        request_id = checked(str(next((trace["request_id"] for trace in traces.values()), "")))
        catalogue = _catalogue.load(str(pathlib.Path(name).absolute()) for name in options["known_issues_dirs"])
        trace = merge.merge(request_id, traces, missing, catalogue, now, _this_run.described(now, {}))
        trace["conclusion"] = {language: trace_report.conclusion(trace, language) for language in ("en", "fr")}
        gaps = merge.incomplete(trace)
        directory = pathlib.Path(os.path.abspath(options["directory"]))  # noqa: PTH100  the folder Ansible was started in
        width = _run_folder.width or int(Display().columns or 79)

        def shown(where: str, *, colour: bool) -> str:
            return trace_report.render(trace, gaps, language=options["language"], width=width, colour=colour, where=where)

        where = str(directory / FILE)
        try:
            writer.write(directory, {FILE: json.dumps(trace, indent=2, ensure_ascii=False) + "\n"})
        except writer.WriteError:
            where = ""  # what was found out must not be lost with the folder
            raise
        finally:
            _run_folder.show(shown(where, colour=bool(ANSIBLE_COLOR)), options["display"])
        result["file"] = where
        if gaps:
            named = [f"{clean_line(name, 80)} ({clean_line(reason, 300)})" for name, reason in gaps.items()]
            more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
            result.update(
                failed=True,
                msg=f"the logs of {len(gaps)} of {len(hosts)} host{'s' if len(hosts) > 1 else ''} were not wholly read: "
                f"{', '.join(named[:_MOST_NAMED])}{more}; the trace is in {where}",
            )
            return
        result["trace"] = wrap_var(trace)  # type: ignore[no-untyped-call]
        result["summary"] = shown(where, colour=False)


def _collected(hosts: list[str], hostvars: t.Any, names: list[str]) -> tuple[dict[str, t.Any], dict[str, str]]:
    """The newest trace of each host, of several passes; the reason for each host that has none."""
    traces: dict[str, t.Any] = {}
    missing: dict[str, str] = {}
    for name in names:
        found, without, mistakes = _play.traces(hosts, hostvars, name)
        if mistakes and len(mistakes) == len(hosts):
            raise _options.OptionError(mistakes[0])
        traces.update(found)
        missing = missing or without
    return traces, {host: reason for host, reason in missing.items() if host not in traces}
