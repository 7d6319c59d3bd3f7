# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Known issues that only show when the hosts of one instance are seen together, and states that they all see alike. Private."""

from __future__ import annotations

import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import FleetScope, Scope, Undecided, branch
from ansible_collections.fediops.mastodon.plugins.plugin_utils._instances import Instance, Instances, roles
from ansible_collections.fediops.mastodon.plugins.plugin_utils._judgement import Facts, Judgement, applies, is_of_the_app, why_missing
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import KnownIssue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

_STORE = {"sidekiq": "sidekiq", "redis": "app"}  # use of Redis by which hosts see the same thing


def judge_fleet(issue: KnownIssue, instance: Instance, facts: t.Mapping[str, Facts]) -> tuple[Judgement, FleetScope]:
    """The state of a known issue of scope fleet on one instance; hosts that lack a needed fact are left out, and said to be."""
    whole: dict[str, Facts] = {}
    reasons: list[str] = []
    for host in instance.hosts:
        # What is switched off there says nothing of the instance: the old checkout of a host that only has the database now.
        about = applies(issue, {**facts[host], "install": {**branch(facts[host], "install"), "roles": sorted(roles(facts[host]))}})
        missing = next((path for path in issue.needs if not Scope(facts[host], issue.id).has(path)), None)
        if about is None and missing is None:
            whole[host] = facts[host]
        elif about is None and missing is not None and not is_of_the_app(facts[host], [missing.split(".")[0]]):
            reasons.append(f"{host}: {why_missing(facts[host], (missing.split('.')[0],), f'{missing} is not among the facts')}")
        elif about is not None and about.state == "unknown":
            reasons.append(f"{host}: {about.reason}")
    scope = FleetScope(whole, {"name": instance.name, "hosts": list(instance.hosts)}, issue.id)
    if len(whole) + len(reasons) > 1 or not reasons:
        return _judge(issue, scope, reasons, bool(whole)), scope
    return Judgement("not_applicable"), scope  # one host, whose own findings say what could not be read


def _judge(issue: KnownIssue, scope: FleetScope, reasons: list[str], any_host: bool) -> Judgement:
    if any_host:
        undecided = ""
        for expression in issue.when:
            try:
                if scope.condition(expression):
                    return _refuted(issue, scope)
            except Undecided as error:
                undecided = undecided or str(error) or "a fact is missing"
        if undecided:
            reasons = [*reasons, undecided]
    elif not reasons:
        return Judgement("not_applicable")
    return Judgement("unknown", clean_line("; ".join(reasons), 1000)) if reasons else Judgement("clear")


def _refuted(issue: KnownIssue, scope: FleetScope) -> Judgement:
    for expression in issue.unless:
        try:
            if scope.condition(expression):
                return Judgement("clear", excused=True)
        except Undecided:
            continue
    return Judgement("found")


def told_once(
    judged: t.Mapping[str, dict[str, Judgement]],
    facts: t.Mapping[str, Facts],
    catalogue: t.Mapping[str, KnownIssue],
    instances: Instances,
) -> None:
    """Of a shared state, leave the finding to the hosts that know most of it: ten web servers need not say that Sidekiq is down."""
    for name, issue in catalogue.items():
        if issue.shared is None:
            continue
        seen: dict[t.Any, list[str]] = {}
        for host in facts:
            if judged[host][name].state in ("found", "clear"):
                store = _store(issue.shared.by, host, facts[host], instances)
                for number in instances.of(host):
                    seen.setdefault((number, store), []).append(host)
        for hosts in seen.values():
            found = [host for host in hosts if judged[host][name].state == "found"]
            tellers = [host for host in hosts if issue.shared.by in roles(facts[host])] or found[:1]
            tellers = [host for host in tellers if judged[host][name].state == "found"]
            for host in found:
                if host not in (tellers[:1] if issue.shared.once else tellers):
                    judged[host][name] = Judgement("not_applicable")


def _store(by: str, host: str, facts: Facts, instances: Instances) -> tuple[str, ...]:
    """What identifies the thing that hosts see alike; hosts that see different ones speak for themselves."""
    use = branch(facts, "redis", "uses", _STORE[by])
    if use.get("run_id"):
        return ("run", str(use["run_id"]))
    address = str(use.get("address") or "")
    return ("host", instances.owner(host, address) or host) if address else ("host", host)
