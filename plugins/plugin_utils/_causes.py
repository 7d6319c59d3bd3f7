# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which finding is the cause of which, on one host and between the hosts of one instance. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import Scope, Undecided, branch, entries
from ansible_collections.fediops.mastodon.plugins.plugin_utils._judgement import alone
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import SEVERITIES, KnownIssue

Node = tuple[str, str]  # (host, id of the known issue)
# What a host can lend to the others of its instance: a finding about such a component may be caused where it is served.
_SERVED = ("database", "redis")


class Cause(t.NamedTuple):
    rank: int  # 1 = root cause
    explained_by: Node | None
    explains: tuple[Node, ...]  # directly or through others, nearest first


def causes(
    found: t.Mapping[str, t.Iterable[str]], facts: t.Mapping[str, dict[str, t.Any]], catalogue: t.Mapping[str, KnownIssue]
) -> dict[Node, Cause]:
    """Cause and effects of every finding; `found` holds the ids found on each host.

    A cause on another host counts when the known issue lists the effect, both hosts belong to one instance (same domain), and the
    effect is about the database or Redis, which that other host serves and this one does not.
    """
    nodes = [(host, name) for host, names in found.items() for name in names]
    effects: dict[Node, list[Node]] = {node: [] for node in nodes}
    explainers: dict[Node, list[Node]] = {node: [] for node in nodes}
    by_id: dict[str, list[str]] = {}
    for host, name in nodes:
        by_id.setdefault(name, []).append(host)
    instances = _instances(facts)
    for node in nodes:
        host, name = node
        for target, condition in catalogue[name].explains.items():
            hosts = [other for other in by_id.get(target, ()) if other == host or _serves(host, other, catalogue[target], facts, instances)]
            if hosts and _holds(condition, name, facts[host]):
                effects[node] += [(other, target) for other in hosts]
                for other in hosts:
                    explainers[(other, target)].append(node)
    ranks: dict[Node, int] = {}
    for node in nodes:
        _rank(node, explainers, ranks)
    return {node: Cause(ranks[node], _nearest(node, explainers[node], ranks, catalogue), _below(node, effects)) for node in nodes}


def _instances(facts: t.Mapping[str, dict[str, t.Any]]) -> dict[str, str]:
    """Domain of each host. A database host knows none: it belongs to the instance when there is only one."""
    domains = {host: str(branch(fact, "install").get("domain") or "") for host, fact in facts.items()}
    named = set(filter(None, domains.values()))
    return {host: domain or next(iter(named)) for host, domain in domains.items()} if len(named) == 1 else domains


def _serves(host: str, other: str, effect: KnownIssue, facts: t.Mapping[str, dict[str, t.Any]], instances: dict[str, str]) -> bool:
    def has_role(name: str) -> bool:
        return effect.component in entries(branch(facts[name], "install").get("roles"))

    same_instance = bool(instances[host]) and instances[host] == instances[other]
    return effect.component in _SERVED and same_instance and has_role(host) and not has_role(other)


def _holds(condition: str | None, name: str, facts: dict[str, t.Any]) -> bool:
    if condition is None:
        return True
    try:
        return Scope(facts, name).condition(condition)
    except Undecided:
        return alone(facts)  # a cause is only named when it is known; of lines alone, cause and effect are all that is known


def _rank(node: Node, explainers: dict[Node, list[Node]], ranks: dict[Node, int]) -> int:
    if node not in ranks:  # the catalogue is acyclic, so this ends
        ranks[node] = 1 + max((_rank(other, explainers, ranks) for other in explainers[node]), default=0)
    return ranks[node]


def _nearest(node: Node, explainers: list[Node], ranks: dict[Node, int], catalogue: t.Mapping[str, KnownIssue]) -> Node | None:
    """The last link of the longest chain; on this host rather than on another; then the more severe."""

    def order(other: Node) -> tuple[int, bool, int, Node]:
        return (-ranks[other], other[0] != node[0], SEVERITIES.index(catalogue[other[1]].severity), other)

    return min(explainers, key=order, default=None)


def _below(node: Node, effects: dict[Node, list[Node]]) -> tuple[Node, ...]:
    below: dict[Node, None] = {}
    level = [node]
    while level:
        level = [effect for parent in level for effect in effects[parent] if effect not in below]
        below.update(dict.fromkeys(level))
    return tuple(below)
