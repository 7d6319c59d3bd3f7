# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a remediation did on a host, for every form of the report. Private to this collection."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import commands, view
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.texts import LANGUAGES, text
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.view import Diagnosis, Finding, Host
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

BAD = ("undone", "failed", "escalated")

Texts = dict[str, str]


class Act(t.NamedTuple):
    state: str
    what: str  # start_services (start): web_down_502
    why: Texts
    details: tuple[tuple[str, tuple[str, ...]], ...]  # (word of the report, lines)


class Note(t.NamedTuple):
    text: Texts
    command: str = ""  # of its own, so that it can be copied


def acts(name: str, host: Host, run: commands.Run) -> list[Act]:
    """The steps of a host, what went wrong first."""
    told = [_act(name, step, run) for step in (host.get("remediation") or {}).get("steps", ())]
    return sorted(told, key=lambda act: act.state not in BAD)


def notes(name: str, host: Host, run: commands.Run) -> list[Note]:
    """What there is to say about the remediation of the host as a whole."""
    told = host.get("remediation") or {}
    found = []
    if told.get("not_touched") and view.not_seen(host) is None:  # else the report says already that nobody could look at it
        found.append(_words("remediation_not_touched", why=clean_line(told["not_touched"])))
    if told.get("error"):
        found.append(_words("remediation_error", why=clean_line(told["error"], 1000)))
    if told.get("worse"):
        found.append(_words("remediation_worse", ids=", ".join(told["worse"])))
    if told.get("recovered"):
        found.append(_words("remediation_recovered", ids=", ".join(told["recovered"])))
    if told.get("left_open"):
        found.append(_words("remediation_left_open", ids=told["left_open"]))
    found += [_words("remediation_problem", why=clean_line(problem)) for problem in told.get("problems", ())]
    back = [Note(_words("remediation_rollback"), commands.roll_back(run, name, each)) for each in _runs_with_kept_changes(told)]
    return [*(Note(words) for words in found), *back]


def failures(diagnosis: Diagnosis) -> dict[str, str]:
    """Hosts of which the remediation did not end well, with the reasons."""
    told = {name: (host.get("remediation") or {}).get("failed") for name, host in diagnosis["hosts"].items()}
    return {name: "; ".join(reasons) for name, reasons in told.items() if reasons}


def command(name: str, host: Host, finding: Finding, run: commands.Run) -> str:
    """The command that applies the fix of a finding; nothing where a remediation has just told of it, or where nobody was asked."""
    fix = finding["fix"]
    if not fix or host.get("recorded") or "remediation" in host:
        return ""
    return f"{fix['name']} ({fix['impact']}): {commands.remediate(run, name, fix['name'], fix['impact'])}"


def _act(name: str, step: dict[str, t.Any], run: commands.Run) -> Act:
    state = "escalated" if step.get("escalated") else str(step["state"])
    details: list[tuple[str, tuple[str, ...]]] = []
    if step.get("changes"):
        details.append(("act_changes", tuple(step["changes"])))
    for key, word in (("before", "act_before"), ("after", "act_after")):
        if step.get(key) and state in ("undone", "failed", "kept", *(("planned",) if key == "before" else ())):
            details.append((word, tuple(step[key])))
    if step.get("cannot_undo"):
        details.append(("act_cannot_undo", (step["cannot_undo"],)))
    if step.get("kept_database"):
        details.append(("act_kept_database", (step["kept_database"],)))
    if step.get("allow_with"):
        details.append(("act_allow", (commands.remediate(run, name, step["fix"], step["impact"], forbidden=True),)))
    why = step.get("why_not") or dict.fromkeys(LANGUAGES, str(step.get("reason") or ""))
    if not why["en"] and step.get("follows"):
        why = _words("act_follows", host=clean_line(step["follows"], 80))
    elif not why["en"] and state == "kept" and step.get("judged") is False:
        why = _words("act_unjudged")
    if step.get("only_by_rollback"):
        stays = _words("act_only_by_rollback")
        why = {language: "; ".join(filter(None, (why[language], stays[language]))) for language in LANGUAGES}
    return Act(state, f"{step['fix']} ({step['impact']}): {', '.join(step['issues'])}", why, tuple(details))


def _runs_with_kept_changes(told: dict[str, t.Any]) -> list[str]:
    stays = ("cannot_undo", "services_only")
    kept = [
        step.get("run")
        for step in told.get("steps", ())
        if (step["state"] == "kept" or "only_by_rollback" in step) and step["changes"] and not any(key in step for key in stays)
    ]
    return [run for run in told.get("runs", ()) if run in kept and re.fullmatch(r"[0-9A-Za-z-]{1,60}", run)][::-1]


def _words(key: str, **values: object) -> Texts:
    return {language: text(key, language, **values) for language in LANGUAGES}
