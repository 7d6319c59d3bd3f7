# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which finding is the cause of which, on one host and between the hosts of one instance. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import FleetScope, Scope, Undecided
from ansible_collections.fediops.mastodon.plugins.plugin_utils._instances import Instances
from ansible_collections.fediops.mastodon.plugins.plugin_utils._judgement import alone
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import SEVERITIES, KnownIssue

Node = tuple[str, str]  # (host, id of the known issue); of an instance as a whole: (its place, id)


class Whole(t.Protocol):
    """An instance as a whole, as the findings about it see it."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Their names."""

    @property
    def scopes(self) -> t.Mapping[str, FleetScope]:
        """By id of the known issue."""


class Cause(t.NamedTuple):
    rank: int  # 1 = root cause
    explained_by: Node | None
    explains: tuple[Node, ...]  # directly or through others, nearest first


class Links:
    """Which finding can be the cause of which."""

    def __init__(
        self,
        facts: t.Mapping[str, dict[str, t.Any]],
        catalogue: t.Mapping[str, KnownIssue],
        instances: Instances,
        wholes: t.Mapping[str, Whole],  # instances as a whole, by their place
    ) -> None:
        self._facts, self._catalogue, self._instances, self._wholes = facts, catalogue, instances, wholes

    def of(self, found: t.Mapping[str, t.Iterable[str]]) -> dict[Node, Cause]:
        """Cause and effects of every finding; `found` holds the ids found on each host, and of each instance as a whole."""
        nodes = [(place, name) for place, names in found.items() for name in names]
        places: dict[str, set[str]] = {}
        for place, name in nodes:
            places.setdefault(name, set()).add(place)
        near = {place: self._near(place) for place in found}
        effects: dict[Node, list[Node]] = {node: [] for node in nodes}
        explainers: dict[Node, list[Node]] = {node: [] for node in nodes}
        for node in nodes:
            for target, condition in self._catalogue[node[1]].explains.items():
                at = places.get(target, ())
                for place in near[node[0]] if at else ():
                    if place in at and self._reaches(node, (place, target)) and self._holds(condition, node, place):
                        effects[node].append((place, target))
                        explainers[(place, target)].append(node)
        ranks: dict[Node, int] = {}
        for node in nodes:
            _rank(node, explainers, ranks)
        return {node: Cause(ranks[node], _nearest(node, explainers[node], ranks, self._catalogue), _below(node, effects)) for node in nodes}

    def _near(self, place: str) -> tuple[str, ...]:
        """Where something found at a place can have effects: there, and wherever else it is of the same instance."""
        if place in self._wholes:
            return (place, *self._wholes[place].hosts)
        wholes = [other for other, whole in self._wholes.items() if place in whole.hosts]
        return (place, *self._instances.others(place), *wholes)

    def _reaches(self, cause: Node, effect: Node) -> bool:
        """Whether what is found at one place can be the cause of what is found at another that is near.

        On another host: when that host serves what the effect or the cause is about (database, Redis, web, streaming, Sidekiq) to it.
        """
        (place, name), (other, target) = cause, effect
        if place == other:
            return name != target
        if place in self._wholes or other in self._wholes:
            return True
        about = {self._catalogue[target].component, self._catalogue[name].component}
        return any(self._instances.serves(place, other, what) for what in about)

    def _holds(self, condition: str | None, cause: Node, effect_place: str) -> bool:
        if condition is None:
            return True
        place, name = cause
        try:
            if place in self._wholes:
                facts = self._facts.get(effect_place, {})
                return self._wholes[place].scopes[name].condition(condition, {**facts, "name": effect_place})
            return Scope(self._facts[place], name).condition(condition)
        except Undecided:
            # A cause is only named when it is known; of lines alone, cause and effect are all that is known.
            return place in self._facts and alone(self._facts[place])


def _rank(node: Node, explainers: dict[Node, list[Node]], ranks: dict[Node, int]) -> int:
    # This ends: the catalogue is acyclic, and what explains itself is found on a host that uses no other's.
    if node not in ranks:
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
