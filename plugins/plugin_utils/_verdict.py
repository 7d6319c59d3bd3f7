# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Did it cure? The findings of a host before and after its steps say what is kept and what is undone. Pure. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

SEVERE = ("critical", "error")
_MOST_EVIDENCE = 6

Host = t.Mapping[str, t.Any]
Step = dict[str, t.Any]


def findings(host: Host) -> dict[str, t.Any]:
    return {finding["id"]: finding for finding in host.get("findings", ())}


def must_be_gone(step: Step) -> list[str]:
    """The issues by which a step is judged: those it covers. One that only helps covers none."""
    return [issue for issue in step.get("issues", ()) if issue in step.get("covers", ())]


def got_worse(before: Host, after: Host) -> list[str]:
    """Severe findings that were surely not there before, and that nothing explains which was.

    What could not be checked before is no news: a database that answers again shows what else is wrong with it.
    """
    known, now = findings(before), findings(after)
    return [
        name
        for name, finding in now.items()
        if finding["severity"] in SEVERE and name in before.get("passed", ()) and not _caused_by_known(finding, now, known)
    ]


def _caused_by_known(finding: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any], known: t.Container[str]) -> bool:
    for _link in range(len(now)):
        cause = finding["explained_by"]
        if not cause:
            return False
        if "/" in cause or cause in known:
            return True
        finding = now[cause]
    return False


def verdicts(steps: t.Iterable[Step], before: Host, after: Host) -> dict[int, str]:
    """Number of a step to the reason why it is to be undone."""
    there = findings(after)
    unknown = {entry["id"]: entry["reason"] for entry in after.get("unknown", ())}
    worse = got_worse(before, after)
    reasons = {}
    for step in steps:
        if step["state"] != "applied":
            continue
        still = [issue for issue in must_be_gone(step) if issue in there]
        unsure = [issue for issue in must_be_gone(step) if issue in unknown]
        told = []
        if step.get("not_in_effect"):
            told.append(f"not in effect: {clean_line(step['not_in_effect'])}")
        if still:
            told.append(f"did not cure: {', '.join(still)} is still found")
        if unsure:
            told.append(f"not proven: {unsure[0]} could not be checked ({clean_line(unknown[unsure[0]])})")
        if worse:
            told.append(f"the host got worse: {', '.join(worse)}")
        if told:
            reasons[int(step["number"])] = "; ".join(told)
    return reasons


def evidence(issues: t.Iterable[str], host: Host) -> list[str]:
    """What speaks for these findings on a host, one line each."""
    there = findings(host)
    lines = []
    for issue in issues:
        if issue in there:
            told = there[issue]["evidence"]
            values = [entry["value"] for entry in told if "fact" in entry] or [entry["value"] for entry in told][:1]
            lines += [f"{issue}: {value}" for value in values or [there[issue]["title"]["en"]]]
    return lines[:_MOST_EVIDENCE]
