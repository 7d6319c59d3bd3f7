# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log lines that somebody pasted become a diagnosis; no server is asked."""

from __future__ import annotations

import pathlib
import re
import time
import typing as t

from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.plugin_utils import (
    _catalogue,
    _diagnosis,
    _log_file,
    _options,
    _origins,
    _run_folder,
    _this_run,
    _waivers,
)
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import PlayAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._pasted import facts_of_case, facts_of_log, version_of
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

OPTIONS: dict[str, t.Any] = {
    "log": {"type": "path"},
    "log_origin": {"type": "str", "choices": list(_origins.CHOICES), "default": _origins.AUTO},
    "version": {"type": "str", "default": ""},
    "deployment": {"type": "str", "choices": ["systemd", "docker", "unknown"], "default": "unknown"},
    "cases": {"type": "path"},
    "waivers": {"type": "list", "elements": "dict", "default": []},
    "waivers_dirs": {"type": "list", "elements": "path", "default": []},
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
}


class ActionModule(PlayAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        now = time.time()
        options = _options.checked(OPTIONS, self._task.args)
        if bool(options["log"]) == bool(options["cases"]):
            raise _options.OptionError(
                "name one log (log, or -e mastodon_log=FILE) or one file of cases (cases, -e mastodon_log_cases=FILE)"
            )
        if options["version"] and re.search(r"\d\.\d", options["version"]) is None:
            raise _options.OptionError(f'version "{clean_line(options["version"], 60)}" is no version; write it as 4.3.2')
        if options["version"] and not version_of(options["version"]):
            shown = clean_line(options["version"], 60)
            why = "is not one of Mastodon 3.4 and newer, so it says nothing here; of a fork give the one of Mastodon in it"
            result["warnings"] = [f'version "{shown}" {why}']
        catalogue = _run_folder.catalogue(options["known_issues_dirs"])
        waivers = _waivers.read_waivers(options["waivers"], catalogue, options["waivers_dirs"])
        facts = _facts(options, _catalogue.signatures(catalogue))
        run = _this_run.described(now, facts, lines=True)
        diagnosis = _diagnosis.diagnose(facts, catalogue, waivers=waivers, now=now, run=run)
        result["diagnosis"] = wrap_var(diagnosis)  # type: ignore[no-untyped-call]


def _facts(options: dict[str, t.Any], signatures: dict[str, dict[str, t.Any]]) -> dict[str, t.Any]:
    if options["log"]:
        path = pathlib.Path(options["log"])
        return {
            path.name: facts_of_log(
                _log_file.Lines(path), path.name, signatures, options["log_origin"], options["version"], options["deployment"]
            )
        }
    facts = {}
    for case in _log_file.cases(pathlib.Path(options["cases"])):
        given = case._replace(version=case.version or options["version"], deployment=case.deployment or options["deployment"])
        facts[case.id] = facts_of_case(given, signatures, options["log_origin"])
    return facts
