# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A diagnosis becomes files, a text on the terminal, and the exit code."""

from __future__ import annotations

import os
import pathlib
import typing as t

from ansible.utils.color import ANSIBLE_COLOR
from ansible.utils.display import Display

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _diagnosis, _options, _run_folder
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import PlayAction, Result
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import (
    acts,
    html,
    json_report,
    junit,
    markdown,
    terminal,
    view,
    writer,
)
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

FORMATS: dict[str, tuple[str, t.Callable[[view.Diagnosis, str], str]]] = {
    "html": ("index.html", html.render),
    "json": ("diagnosis.json", lambda diagnosis, _language: json_report.render(diagnosis)),
    "junit": ("junit.xml", junit.render),
    "markdown": ("report.md", markdown.render),
}
OPTIONS: dict[str, t.Any] = {
    "diagnosis": {"type": "dict", "required": True},
    "directory": {"type": "path", "default": "mastodon-report"},
    "language": {"type": "str", "choices": ["en", "fr"], "default": "en"},
    "formats": {"type": "list", "elements": "str", "choices": sorted(FORMATS), "default": sorted(FORMATS)},
    "fail_on": {"type": "str", "choices": ["never", "critical", "error", "warning"], "default": "never"},
    "display": {"type": "str", "choices": ["now", "last", "none"], "default": "now"},
}
_MOST_NAMED = 10


class ActionModule(PlayAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        options = _options.checked(OPTIONS, self._task.args)
        diagnosis = _diagnosis.plain(options["diagnosis"])
        if diagnosis.get("schema") != _diagnosis.SCHEMA or not isinstance(diagnosis.get("hosts"), dict):
            raise _options.OptionError("diagnosis is not the result of fediops.mastodon.mastodon_diagnose (schema 1)")
        language = options["language"]
        directory = pathlib.Path(os.path.abspath(options["directory"]))  # noqa: PTH100  the folder Ansible was started in
        rendered = {FORMATS[name][0]: FORMATS[name][1](diagnosis, language) for name in options["formats"]}
        where = str(directory / "index.html") if "index.html" in rendered else str(directory)

        def summary(*, colour: bool) -> str:
            return terminal.render(
                diagnosis,
                language=language,
                width=_run_folder.width or int(Display().columns or 79),
                colour=colour,
                where=where if rendered else "",
            )

        try:
            files = writer.write(directory, rendered) if rendered else []
        except writer.WriteError:
            where = ""  # what was found out must not be lost with the folder
            _run_folder.show(summary(colour=bool(ANSIBLE_COLOR)), options["display"])
            raise
        _run_folder.show(summary(colour=bool(ANSIBLE_COLOR)), options["display"])
        result.update(directory=str(directory), files=files)
        sentences = [*_not_cured(diagnosis), *_over_limit(diagnosis, options["fail_on"]), *_not_checked(diagnosis)]
        if sentences:
            # No summary here: Ansible prints the whole result of a task that failed.
            result.update(failed=True, msg="; ".join([*sentences, f"the report is in {directory}"] if files else sentences))
        else:
            result["summary"] = summary(colour=False)


def _not_cured(diagnosis: view.Diagnosis) -> list[str]:
    failed = acts.failures(diagnosis)
    if not failed:
        return []
    named = [f"{clean_line(name, 80)} ({clean_line(reason, 300)})" for name, reason in failed.items()]
    return [f"the remediation of {len(failed)} of {_hosts(len(diagnosis['hosts']))} did not end well: {_some(named)}"]


def _over_limit(diagnosis: view.Diagnosis, limit: str) -> list[str]:
    if limit == "never":
        return []
    severities = view.SEVERITIES[: view.SEVERITIES.index(limit) + 1]
    hit = {
        name: [finding["id"] for finding in host["findings"] if finding["severity"] in severities]
        for name, host in diagnosis["hosts"].items()
    }
    named = [f"{clean_line(name, 80)}: {', '.join(names)}" for name, names in hit.items() if names]
    between = [finding["id"] for finding in diagnosis["fleet"]["findings"] if finding["severity"] in severities]
    told = []
    if named:
        have = "has" if len(named) == 1 else "have"
        told.append(f"{len(named)} of {_hosts(len(hit))} {have} findings of severity {limit} or worse ({_some(named)})")
    if between:
        told.append(f"there are findings of severity {limit} or worse between hosts ({_some(between)})")
    return told


def _not_checked(diagnosis: view.Diagnosis) -> list[str]:
    gaps = view.gaps(diagnosis)
    if not gaps:
        return []
    named = [f"{clean_line(name, 80)} ({clean_line(reason, 300)})" for name, reason in gaps.items()]
    return [f"{len(gaps)} of {_hosts(len(diagnosis['hosts']))} could not be fully checked: {_some(named)}"]


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"


def _some(named: list[str]) -> str:
    more = [f"and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
    return ", ".join([*named[:_MOST_NAMED], *more])
