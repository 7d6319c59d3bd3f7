# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of mastodon_facts: what to look for comes from the catalogue, and a host without any room still names its full disk."""

from __future__ import annotations

import json
import pathlib
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.utils.display import Display
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.module_utils._clock import synchronized
from ansible_collections.fediops.mastodon.plugins.plugin_utils import (
    _catalogue,
    _df,
    _options,
    _post_probe,
    _run_folder,
)
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import HostAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

MODULE = "fediops.mastodon.mastodon_facts"
MAX_RECORDED_BYTES = 5_000_000
OWN_OPTIONS: dict[str, t.Any] = {
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
    "recorded": {"type": "path"},
    "post_probe": {"type": "dict"},
    "instance": {"type": "str", "default": ""},
    "validate_role": {"type": "raw", "default": False},
}


class ActionModule(HostAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        result.update(self._facts(variables))

    def _facts(self, variables: dict[str, t.Any]) -> Result:
        arguments = dict(self._task.args)
        own = _options.checked(OWN_OPTIONS, {name: arguments.pop(name) for name in OWN_OPTIONS if name in arguments})
        if own["validate_role"]:
            role = own["validate_role"] if isinstance(own["validate_role"], str) else "diagnose"
            if role.lower() not in ("false", "no"):
                role = "diagnose" if role.lower() in ("true", "yes") else role
                _options.check_role_variables(role, variables, self._templar.template, Display().warning)
        directories = [str(pathlib.Path(name).expanduser().absolute()) for name in own["known_issues_dirs"]]
        signatures = _run_folder.remembered("signatures", directories, lambda: _catalogue.signatures(_run_folder.catalogue(directories)))
        if own["recorded"]:
            recorded = _told_instance(_recorded(own["recorded"]), own["instance"])
            return {"ansible_facts": {"mastodon": wrap_var(recorded)}, "changed": False}  # type: ignore[no-untyped-call]
        # Before the logs are read: what the posts leave there tells why they failed.
        told = self._probe_post(_post_probe.checked(own["post_probe"]), arguments, variables) if own["post_probe"] else None
        arguments.setdefault("signatures", signatures)
        arguments.setdefault("fingerprint_key", _run_folder.secret("fingerprints"))
        start, began = time.monotonic(), time.time()
        result = self._run_module(arguments, variables)
        facts = (result.get("ansible_facts") or {}).get("mastodon")
        if isinstance(facts, dict):
            facts["seconds"] = round(time.monotonic() - start, 3)
            _compare_clocks(facts, began, time.time())
            _told_instance(facts, own["instance"])
            if told is not None:
                _add_probe(facts, told)
        return result

    def _probe_post(self, options: dict[str, t.Any], arguments: dict[str, t.Any], variables: dict[str, t.Any]) -> _post_probe.Told:
        if self._task.check_mode:
            return {"state": "skipped", "reason": _post_probe.CHECK_MODE, "facts": {}}
        if not options["url"]:
            ground = self._run_module({**arguments, "gather_subset": ["install", "environment"]}, variables)
            facts = (ground.get("ansible_facts") or {}).get("mastodon")
            options["url"] = _post_probe.url_by(facts)
        if not options["url"]:
            return {"state": "failed", "reason": "the domain of this Mastodon is not known; give url (mastodon_probe_url)", "facts": {}}
        return _post_probe.run_once(self, variables, options)

    def _run_module(self, arguments: dict[str, t.Any], variables: dict[str, t.Any]) -> Result:
        try:
            result = t.cast("Result", self._execute_module(module_name=MODULE, module_args=arguments, task_vars=variables))
        except AnsibleConnectionFailure as error:
            # Without pipelining a full disk shows as "unreachable": the temporary folder cannot be made.
            if not _df.NO_ROOM.search(str(error)):
                raise
            return self._disk_alone(str(error))
        except AnsibleError as error:
            return {"failed": True, "msg": clean_line(error, 1000)}
        if not result.get("failed"):
            return result
        told = " ".join(str(result.get(key) or "") for key in ("msg", "module_stderr", "module_stdout", "exception"))
        return self._disk_alone(told) if "ansible_facts" not in result and _df.NO_ROOM.search(told) else _without_noise(result)

    def _disk_alone(self, told: str) -> Result:
        match = _df.NO_ROOM.search(told)
        why = match[0].lower() if match else "no room"
        answer = self._low_level_execute_command(_df.COMMAND, sudoable=True)  # type: ignore[no-untyped-call]
        reason = f"there was no room for a temporary file on this host ({why}), so only df could be run"
        facts = _df.facts(str(answer.get("stdout") or "")[:200_000], reason)
        if "disk" not in facts:
            return {"failed": True, "msg": f"{reason}, and df gave nothing that could be read"}
        return {"ansible_facts": {"mastodon": wrap_var(facts)}, "changed": False, "msg": reason}  # type: ignore[no-untyped-call]


def _add_probe(facts: dict[str, t.Any], told: _post_probe.Told) -> None:
    """The post of an instance is a fact of the hosts that run its web process."""
    probe: dict[str, t.Any] = {"state": told["state"], "seconds": told.get("seconds", 0.0)}
    if "web" in (facts.get("install") or {}).get("roles", ()):
        if told["facts"]:
            facts["probe_post"] = told["facts"]
    else:
        told = {"reason": "no web process of Mastodon runs on this host"}
        probe["state"] = "skipped"
    if told.get("reason"):
        probe["reason"] = told["reason"]
    facts.setdefault("probes", {})["probe_post"] = probe


def _compare_clocks(facts: dict[str, t.Any], began: float, ended: float) -> None:
    """How far the host's clock is ahead of ours, as bounds that hold however long the way took.

    The host looked at its clock after we began and before we ended.
    """
    clock = facts.get("clock")
    if not isinstance(clock, dict) or not isinstance(clock.get("finished_epoch"), float):
        return
    clock["ahead_least_seconds"] = round(clock["finished_epoch"] - ended, 3)
    clock["ahead_most_seconds"] = round(facts["time_epoch"] - began, 3)
    ours = synchronized()
    if ours is not None:
        clock["controller_synchronized"] = ours


def _told_instance(facts: dict[str, t.Any], instance: str) -> dict[str, t.Any]:
    if instance:
        facts["host"] = {**(facts.get("host") or {}), "instance": clean_line(instance, 253)}
    return facts


def _without_noise(result: Result) -> Result:
    """A module that died says so in pages of JSON; its last line is the one that helps."""
    if result.get("module_stderr") or result.get("module_stdout"):
        lines = [line for line in str(result.get("module_stderr") or result.get("module_stdout")).strip().splitlines() if line.strip()]
        return {
            "failed": True,
            "msg": clean_line(f"the module could not run: {lines[-1] if lines else result.get('msg')}", 500),
            "rc": result.get("rc"),
        }
    return result


def _recorded(name: str) -> dict[str, t.Any]:
    """Facts somebody recorded: the facts alone, or the result of the module around them."""
    path = pathlib.Path(name)
    try:
        if path.stat().st_size > MAX_RECORDED_BYTES:
            raise _options.OptionError(f"recorded facts {path} are larger than {MAX_RECORDED_BYTES} bytes")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _options.OptionError(f"recorded facts {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise _options.OptionError(f"recorded facts {path} are not valid JSON: {clean_line(error, 120)}") from None
    for key in ("ansible_facts", "mastodon"):
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
    if not isinstance(data, dict) or "probes" not in data or data.get("schema") != 1:
        raise _options.OptionError(f"recorded facts {path} are not facts of {MODULE} (schema 1)")
    return {**data, "recorded": True}
