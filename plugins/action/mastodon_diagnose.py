# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts of all hosts of the play become one diagnosis."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
import typing as t
import uuid

from ansible import constants as C
from ansible import context
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _diagnosis, _options, _play, _run_folder, _waivers
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import PlayAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._collection import version

OPTIONS: dict[str, t.Any] = {
    "waivers": {"type": "list", "elements": "dict", "default": []},
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
}


class ActionModule(PlayAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        result["diagnosis"] = wrap_var(self._diagnosis(variables))  # type: ignore[no-untyped-call]

    def _diagnosis(self, variables: dict[str, t.Any]) -> _diagnosis.Diagnosis:
        now = time.time()
        options = _options.checked(OPTIONS, self._task.args)
        catalogue = _catalogue.load(str(pathlib.Path(name).absolute()) for name in options["known_issues_dirs"])
        waivers = _waivers.read_waivers(options["waivers"], catalogue)
        hosts = list(variables.get("ansible_play_hosts_all") or [variables["inventory_hostname"]])
        facts, missing, mistakes = _play.collect(hosts, variables["hostvars"])
        if mistakes and len(mistakes) == len(hosts):
            raise _options.OptionError(mistakes[0])
        diagnosis = _diagnosis.diagnose(facts, catalogue, waivers=waivers, unreachable=missing, now=now, run=_run(now, facts))
        for host, told in _play.remediations(hosts, variables["hostvars"]).items():
            diagnosis["hosts"][host]["remediation"] = told
        return diagnosis


def _run(now: float, facts: dict[str, t.Any]) -> dict[str, t.Any]:
    spent = [fact["seconds"] for fact in facts.values() if isinstance(fact, dict) and isinstance(fact.get("seconds"), (int, float))]
    started = _run_folder.started or now - max(spent, default=0.0)
    return {
        "id": str(uuid.uuid4()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(now - started, 3),
        "collection": version(),
        "start": _start(),
    }


def _start() -> dict[str, t.Any]:
    """How this run was started: with which inventory, and by make of a checkout (`tools/diagnose`) or not."""
    given = context.CLIARGS.get("inventory") or ()
    names = [str(name) for name in ([given] if isinstance(given, str) else given)]
    start: dict[str, t.Any] = {}
    if names and names != [str(name) for name in C.DEFAULT_HOST_LIST]:  # type: ignore[attr-defined]
        start["inventory"] = [name if "," in name else _short(name) for name in names]
    if os.environ.get("FEDIOPS_MASTODON_MAKE"):
        start["make"] = os.environ["FEDIOPS_MASTODON_MAKE"]
    return start


def _short(path: str) -> str:
    """Below the folder in which Ansible was started: relative, as it was given."""
    with contextlib.suppress(ValueError, OSError):
        return str(pathlib.Path(path).relative_to(pathlib.Path.cwd()))
    return path
