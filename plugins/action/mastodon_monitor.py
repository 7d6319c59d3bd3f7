# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of mastodon_monitor: adds what the catalogue knows, which the host cannot read."""

from __future__ import annotations

import pathlib
import shutil
import sys
import typing as t

from ansible.utils.display import Display

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _options, _run_folder
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import HostAction, Result

MODULE = "fediops.mastodon.mastodon_monitor"
OWN_OPTIONS: dict[str, t.Any] = {
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
    "validate_role": {"type": "str", "default": ""},
}


class ActionModule(HostAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        arguments = dict(self._task.args)
        own = _options.checked(OWN_OPTIONS, {name: arguments.pop(name) for name in OWN_OPTIONS if name in arguments})
        if own["validate_role"]:
            _options.check_role_variables(own["validate_role"], variables, self._templar.template, Display().warning)
        if arguments.get("state") != "absent":
            if arguments.get("part") == "diagnose":
                arguments["ansible_playbook"] = arguments.get("ansible_playbook") or _ansible_playbook()
            else:
                directories = [str(pathlib.Path(name).expanduser().absolute()) for name in own["known_issues_dirs"]]
                arguments.setdefault("catalogue", _run_folder.remembered("monitor", directories, lambda: _for_the_host(directories)))
        result.update(self._execute_module(module_name=MODULE, module_args=arguments, task_vars=variables))


def _for_the_host(directories: list[str]) -> dict[str, t.Any]:
    """Signatures, and what explains what: `true` when it always does, `false` when only under a condition, which needs Jinja2."""
    catalogue = _run_folder.catalogue(directories)
    explains = {name: {target: condition is None for target, condition in issue.explains.items()} for name, issue in catalogue.items()}
    return {"signatures": _catalogue.signatures(catalogue), "explains": {name: targets for name, targets in explains.items() if targets}}


def _ansible_playbook() -> str:
    """The program of the Ansible that runs now."""
    beside = pathlib.Path(sys.argv[0]).absolute().parent / "ansible-playbook"
    return str(beside) if beside.exists() else shutil.which("ansible-playbook") or ""
