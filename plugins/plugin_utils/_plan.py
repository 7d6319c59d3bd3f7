# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A diagnosis becomes a plan: which fix is due on which host, and whether it may be done. Pure. Private to this collection.

docs/remediation.md §1 is the contract.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ansible_collections.fediops.mastodon.plugins.module_utils._fixes import FIXES, IMPACTS, PHASES, why_not_in_containers
from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import branch, entries
from ansible_collections.fediops.mastodon.plugins.plugin_utils._instances import groups
from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line, human_duration

DAY_SECONDS = 86400.0
MOST_CURES = 3  # of one finding on one host in a day; then something else keeps breaking it
APP_ROLES = ("web", "sidekiq", "streaming")

OPTIONS: dict[str, t.Any] = {
    "impact": {"type": "str", "choices": list(IMPACTS), "default": "restart"},
    "only": {"type": "list", "elements": "str", "default": []},
    "skip": {"type": "list", "elements": "str", "default": []},
    "build_host": {"type": "str", "default": ""},
}

Step = dict[str, t.Any]
Plan = dict[str, t.Any]
Tried = t.AbstractSet[tuple[str, str]]

_WHY: dict[str, tuple[str, str]] = {
    "containers": ("Mastodon runs in containers here: {en}", "Mastodon tourne ici dans des conteneurs : {fr}"),
    "recorded": ("the facts were recorded, the host was not asked", "les faits ont été enregistrés, l'hôte n'a pas été interrogé"),
    "left_out": ("left out by {variable}", "écarté par {variable}"),
    "escalated": (
        "{issue} was cured {n} times on this host within 24 h: something else keeps breaking it, look for that first",
        "{issue} a été soigné {n} fois sur cet hôte en 24 h : autre chose le provoque sans cesse, cherchez-le d'abord",
    ),
    "waiting": ("done {ago} ago; its effect takes time", "fait il y a {ago} ; l'effet prend du temps"),
    "elsewhere_failed": (
        "{host} has tried it for the database that both use, without success",
        "{host} l'a essayé pour la base commune, sans succès",
    ),
    "impact": (
        "its impact {impact} is above what may be done (mastodon_remediate_impact: {allowed})",
        "son impact {impact} dépasse ce qui est permis (mastodon_remediate_impact : {allowed})",
    ),
}


class PlanError(Mistake):
    """One sentence about mastodon_remediate_*."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """What the user allows."""

    impact: str = "restart"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    build_host: str = ""

    def leaves_out(self, fix: str, issue: str) -> str:
        """The variable that leaves a fix for an issue out, or nothing."""
        if fix in self.skip or issue in self.skip:
            return "mastodon_remediate_skip"
        return "mastodon_remediate_only" if self.only and fix not in self.only and issue not in self.only else ""


@dataclasses.dataclass(frozen=True)
class Done:
    """A fix that a host of the group did for the database that all of it share."""

    host: str
    issues: tuple[str, ...]
    worked: bool = True


def policy_of(options: t.Mapping[str, t.Any], issues: t.Iterable[str]) -> Policy:
    """The policy; PlanError names what is no fix and no known issue: a typo must not widen or narrow what is done."""
    known = [*FIXES, *issues]
    for option in ("only", "skip"):
        for name in options[option]:
            if name not in known:
                meant = difflib.get_close_matches(name, known, 1)
                raise PlanError(
                    f'mastodon_remediate_{option}: "{clean_line(name, 60)}" is neither a fix nor a known issue'
                    + (f'; did you mean "{meant[0]}"?' if meant else f"; fixes are {', '.join(sorted(FIXES))}")
                )
    return Policy(options["impact"], tuple(options["only"]), tuple(options["skip"]), options["build_host"])


def check_build_host(policy: Policy, inventory: t.Collection[str]) -> None:
    """PlanError when nobody in the inventory has this name: found out now, not on the day on which assets are to be built."""
    if policy.build_host and policy.build_host not in inventory:
        meant = difflib.get_close_matches(policy.build_host, list(inventory), 1)
        raise PlanError(
            f'mastodon_build_host: "{clean_line(policy.build_host, 60)}" is no host of the inventory'
            + (f'; did you mean "{meant[0]}"?' if meant else "")
        )


def plan(
    diagnosis: t.Mapping[str, t.Any],
    facts: t.Mapping[str, t.Any],
    policy: Policy,
    *,
    hosts: t.Sequence[str] | None = None,
    done: t.Mapping[tuple[str, str], Done] | None = None,
    tried: Tried = frozenset(),
) -> Plan:
    """Steps of each host (or of `hosts`), in the order in which the hosts are worked on.

    `done`: (fix, group) to what another host did already in this run; `tried`: (issue, fix) that this run did on this host.
    """
    group = groups(facts)
    by_group = dict(done or {})
    planned: dict[str, t.Any] = {}
    for host in hosts if hosts is not None else diagnosis["hosts"]:
        steps = _steps(host, diagnosis["hosts"].get(host) or {}, facts.get(host) or {}, policy, tried)
        if host in group:
            _once_a_database(host, group[host], steps, facts[host], by_group, policy, done or {}, tried)
        ordered = sorted(steps.values(), key=lambda step: (PHASES.index(step["phase"]), list(FIXES).index(step["fix"])))
        planned[host] = {"steps": ordered}
    copies = any(step["fix"] == "copy_assets" and step["allowed"] for each in planned.values() for step in each["steps"])
    return {"hosts": planned, "copies_assets": copies}


def _steps(host: str, diagnosed: t.Mapping[str, t.Any], facts: t.Mapping[str, t.Any], policy: Policy, tried: Tried) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for finding in diagnosed.get("findings", ()):
        fix = finding["fix"]
        if finding["rank"] != 1 or not fix:
            continue
        name = fix["name"]
        options = dict(fix.get("options", {}))
        if name == "rebuild_assets" and policy.build_host and policy.build_host != host:
            name, options = "copy_assets", {**options, "build_host": policy.build_host}
        if (finding["id"], name) in tried:
            continue
        step: Step = {
            "fix": name,
            "issues": [finding["id"]],
            # What it explains on other hosts is cured there by nobody; they are looked at again.
            "covers": [finding["id"], *(name for name in finding["explains"] if "/" not in name)],
            "impact": fix["impact"],
            "phase": FIXES[name].phase,
            "options": options,
            "allowed": True,
        }
        if not fix.get("judged", True):
            step["covers"] = []  # what is not covered need not be gone afterwards, and its log lines go on counting
        _judge_step(step, facts, policy, bool(diagnosed.get("recorded")))
        _add(steps, step)
    return steps


def _add(steps: dict[str, Step], step: Step) -> None:
    """One fix once a host. What may be done is not held up by an issue for which it may not: that one keeps its reason."""
    key = step["fix"] if step["allowed"] else f"{step['fix']}: {step['why_not']['en']}"
    known = steps.get(key)
    if known is None:
        steps[key] = step
        return
    for name in ("issues", "covers"):
        known[name] = list(dict.fromkeys([*known[name], *step[name]]))
    known["impact"] = max(known["impact"], step["impact"], key=IMPACTS.index)
    known["options"] = _joined(known["options"], step["options"])


def _joined(one: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    """Options narrow what a fix does: an issue that names none wants the whole; lists are joined with commas."""
    both = {}
    for name in one:
        if name in other:
            words = [*one[name].split(","), *other[name].split(",")]
            both[name] = ",".join(dict.fromkeys(word.strip() for word in words))
    return both


def _judge_step(step: Step, facts: t.Mapping[str, t.Any], policy: Policy, recorded: bool) -> None:
    issue = step["issues"][0]
    cures = _cures(facts, issue)
    install = branch(facts, "install")
    variable = policy.leaves_out(step["fix"], issue)
    ago = _unjudged_ago(facts, issue, step["fix"]) if not step["covers"] else None
    if recorded:
        _refuse(step, "recorded")
    elif install.get("deployment") == "docker" and (texts := why_not_in_containers(step["fix"], "compose" in install)):
        _refuse(step, "containers", en=texts[0], fr=texts[1])
    elif variable:
        _refuse(step, "left_out", variable=variable)
    elif cures >= MOST_CURES:
        _refuse(step, "escalated", issue=issue, n=cures)
        step["escalated"] = True
    elif ago is not None:
        _refuse(step, "waiting", ago=human_duration(ago))
    elif IMPACTS.index(step["impact"]) > IMPACTS.index(policy.impact):
        _refuse(step, "impact", impact=step["impact"], allowed=policy.impact)
        step["allow_with"] = f"-e mastodon_remediate_impact={step['impact']}"


def _refuse(step: Step, why: str, **values: object) -> None:
    step["allowed"] = False
    step["why_not"] = {language: text.format(**values) for language, text in zip(("en", "fr"), _WHY[why], strict=True)}


def _recent_steps(facts: t.Mapping[str, t.Any]) -> t.Iterator[tuple[float, dict[str, t.Any]]]:
    """(how long ago, step) for each step kept on this host within a day; what was not judged there proves no cure."""
    now = _number(facts.get("time_epoch"))
    for run in entries(branch(facts, "remediation").get("runs")):
        if not isinstance(run, dict) or run.get("state") != "settled":
            continue
        ago = now - _number(run.get("finished_epoch"))
        if ago < DAY_SECONDS:
            for step in entries(run.get("steps")):
                if isinstance(step, dict) and step.get("state") == "kept" and not step.get("reason"):
                    yield max(0.0, ago), step


def _cures(facts: t.Mapping[str, t.Any], issue: str) -> int:
    return sum(1 for _ago, step in _recent_steps(facts) if issue in entries(step.get("issues")) and issue in entries(step.get("covers")))


def _unjudged_ago(facts: t.Mapping[str, t.Any], issue: str, fix: str) -> float | None:
    done = [ago for ago, step in _recent_steps(facts) if step.get("fix") == fix and issue in entries(step.get("issues"))]
    return min(done, default=None)


def _number(value: t.Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def _once_a_database(
    host: str,
    group: str,
    steps: dict[str, Step],
    facts: t.Mapping[str, t.Any],
    by_group: dict[tuple[str, str], Done],
    policy: Policy,
    done: t.Mapping[tuple[str, str], Done],
    tried: Tried,
) -> None:
    """What one host does for the shared database, the others do not do again; their processes must be started anew after it."""
    for fix in (name for name, known in FIXES.items() if known.once_a_database):
        first = by_group.get((fix, group))
        step = steps.get(fix)
        if first is None:
            if step is not None:
                by_group[(fix, group)] = Done(host, tuple(step["issues"]))
        elif first.host != host:
            if step is not None:
                del steps[fix]
            if not first.worked:
                if step is not None:
                    _refuse(step, "elsewhere_failed", host=first.host)
                    _add(steps, step)
            elif step is not None or (fix, group) in done:
                _restart_after(steps, first, facts, policy, tried)


def _restart_after(steps: dict[str, Step], first: Done, facts: t.Mapping[str, t.Any], policy: Policy, tried: Tried) -> None:
    roles = [role for role in APP_ROLES if role in entries(branch(facts, "install").get("roles"))]
    if not roles or all((issue, "restart_services") in tried for issue in first.issues):
        return
    step: Step = {
        "fix": "restart_services",
        "issues": list(first.issues),
        "covers": [],
        "impact": "restart",
        "phase": FIXES["restart_services"].phase,
        "options": {"roles": ",".join(roles)},
        "allowed": True,
        "after": first.host,
    }
    if IMPACTS.index(policy.impact) < IMPACTS.index("restart"):
        _refuse(step, "impact", impact="restart", allowed=policy.impact)
        step["allow_with"] = "-e mastodon_remediate_impact=restart"
    _add(steps, step)
