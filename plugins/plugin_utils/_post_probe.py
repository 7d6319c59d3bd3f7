# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the probe that posts, from the controller or from a host, once for all hosts of an instance. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.fediops.mastodon.plugins.module_utils._probe.apart import run_apart
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.options import OPTIONS, mistake
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _options, _run_folder
from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import branch
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

MODULE = "fediops.mastodon.mastodon_post_probe"
CHECK_MODE = "nothing is posted in check mode"

Told = dict[str, t.Any]


def checked(values: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options of the module mastodon_post_probe."""
    options = _options.checked(OPTIONS, values)
    problem = mistake(options)
    if problem:
        raise _options.OptionError(problem)
    return options


def url_by(facts: t.Any) -> str:
    """The public address by the facts of a host, or nothing."""
    domain = branch(facts, "environment", "settings").get("WEB_DOMAIN") or branch(facts, "install").get("domain")
    return f"https://{domain}" if isinstance(domain, str) and domain else ""


def run(action: ActionBase, variables: dict[str, t.Any], options: dict[str, t.Any]) -> Told:
    """{state, reason?, seconds, facts}."""
    told = _from_host(action, variables, options) if options["run_from"] == "host" else run_apart(options)
    told["facts"]["run_from"] = options["run_from"]
    return told


def run_once(action: ActionBase, variables: dict[str, t.Any], options: dict[str, t.Any]) -> Told:
    """The same; of the hosts of a task that ask for the same server the first posts, and the others get its answer."""
    board = _run_folder.Board(f"post-probe {action._task._uuid}")
    key = " ".join((options["url"], options["address"], options["run_from"]))
    with board.lock(key, lambda: None):
        told = board.read("told").get(key)
        if told is None:
            told = run(action, variables, options)
            board.leave("told", key, told)
    return t.cast("Told", told)


def _from_host(action: ActionBase, variables: dict[str, t.Any], options: dict[str, t.Any]) -> Told:
    if not action._is_pipelining_enabled("new"):
        return _failed(
            "run_from=host needs pipelining (ansible_pipelining: true) and no ANSIBLE_KEEP_REMOTE_FILES, "
            "for without it the token would lie in a file on the host"
        )
    try:
        result = action._execute_module(module_name=MODULE, module_args=options, task_vars=variables)
    except AnsibleConnectionFailure as failure:
        return _failed(f"the connection to the host was lost: {clean_line(failure)}")
    except AnsibleError as error:
        return _failed(clean_line(error, 1000))
    told = result.get("told")
    return told if isinstance(told, dict) else _failed(clean_line(result.get("msg") or "the host gave no reason", 1000))


def _failed(reason: str) -> Told:
    return {"state": "failed", "seconds": 0.0, "reason": reason, "facts": {}}
