# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts belong to one instance of Mastodon, and which of them serves what to which. Private to this collection.

A host with the application is of exactly one instance: by `mastodon_instance`, its domain, or the database it shares. One that only serves
(PostgreSQL, Redis, a proxy) knows neither; it is of every instance whose hosts use one of its addresses.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import branch, entries

_THIS_HOST = ("/", "localhost", "127.", "[::1]", "::1", "0.0.0.0", "[::]")
APPS = ("web", "sidekiq", "streaming")
SERVERS = ("database", "redis", "pooler", "proxy")
USED = ("database", "redis", "web", "streaming")  # what one host can use of another

Facts = t.Mapping[str, t.Any]


class Instance(t.NamedTuple):
    name: str  # mastodon_instance, else the domain, else the name of its first host
    hosts: tuple[str, ...]


class Instances:
    """The hosts of a run, put together."""

    def __init__(self, facts: t.Mapping[str, Facts]) -> None:
        self._facts = facts
        self._roles = {host: roles(fact) for host, fact in facts.items()}
        self._servers: dict[tuple[str, str], set[str]] = {}  # by host and what it uses
        self._owners: dict[str, list[str]] = {}
        for host, fact in facts.items():
            for address in entries(branch(fact, "host").get("addresses")):
                self._owners.setdefault(str(address), []).append(host)
        self.all = self._put_together()
        self._of: dict[str, list[int]] = {host: [] for host in facts}
        for number, instance in enumerate(self.all):
            for host in instance.hosts:
                self._of[host].append(number)

    def together(self, host: str, other: str) -> bool:
        """Whether some instance holds both."""
        return bool(set(self._of[host]) & set(self._of[other]))

    def of(self, host: str) -> list[int]:
        """The numbers of its instances in `all`."""
        return self._of[host]

    def others(self, host: str) -> list[str]:
        """The other hosts of its instances."""
        return [other for other in dict.fromkeys(name for number in self._of[host] for name in self.all[number].hosts) if other != host]

    def serves(self, host: str, other: str, what: str) -> bool:
        """Whether `other` uses the database, the Redis, the web or the streaming server of `host`, or has its jobs done there."""
        if what == "sidekiq":
            return host != other and what in self._roles[host] and what not in self._roles[other] and self.together(host, other)
        if what not in USED or host == other or what not in self._roles[host] or not self.together(host, other):
            return False
        if (other, what) not in self._servers:
            self._servers[(other, what)] = self._servers_of(other, what)
        # One that uses another's itself is not the one who knows.
        return host in self._servers[(other, what)] and not any(self._is_elsewhere(host, each) for each in _used(self._facts[host], what))

    def _servers_of(self, host: str, what: str) -> set[str]:
        used = _used(self._facts[host], what)
        addresses = [address for address in used if not address.startswith(_THIS_HOST)]
        owners = {self.owner(host, address) for address in addresses} - {None}
        if owners:
            return {owner for owner in owners if owner is not None}
        through_pooler = what == "database" and "pooler" in self._roles[host]  # where PgBouncer passes it on to is not known
        if what in self._roles[host] or (used and not addresses and not through_pooler):
            return set()
        # An address that is nobody's here (behind a load balancer or another network): whoever is the only one to serve it.
        alone = {other for other in self.others(host) if what in self._roles[other]}
        return alone if len(alone) == 1 else set()

    def owner(self, asking: str, address: str) -> str | None:
        """The host of this run that an address leads to, asked from a host; None when it is that of none or of several."""
        name = _server_of(address)
        resolved = branch(self._facts[asking], "host", "resolved").get(name)
        places = {str(place) for place in entries(resolved)} or {name}
        owners = {host for place in places for host in self._owners.get(_plain(place), ())}
        if asking in owners:
            return asking  # docker0 has the same address everywhere
        return owners.pop() if len(owners) == 1 else None

    def _is_elsewhere(self, host: str, address: str) -> bool:
        return not address.startswith(_THIS_HOST) and self.owner(host, address) != host

    def _put_together(self) -> tuple[Instance, ...]:
        leader = {host: host for host in self._facts if _has_app(self._facts[host])}

        def find(host: str) -> str:
            while leader[host] != host:
                host = leader[host]
            return host

        seen: dict[tuple[str, str], str] = {}
        for host in leader:
            for key in _keys(self._facts[host]):
                leader[find(host)] = find(seen.setdefault(key, host))
        members: dict[str, list[str]] = {}
        for host in leader:
            members.setdefault(find(host), []).append(host)
        groups = list(members.values())
        for host in self._facts:
            if host not in leader:
                self._join(host, groups)
        order = list(self._facts)
        return tuple(Instance(_name(group, self._facts), tuple(sorted(group, key=order.index))) for group in groups)

    def _join(self, server: str, groups: list[list[str]]) -> None:
        """Put a host without the application to those who use it, else to the only instance there is."""
        told = branch(self._facts[server], "host").get("instance") or branch(self._facts[server], "install").get("domain")
        if told:
            chosen = [group for group in groups if _name(group, self._facts) == told]
        else:
            chosen = [group for group in groups if any(self._uses(app, server) for app in group)]
            if not chosen and len(groups) == 1 and set(SERVERS) & roles(self._facts[server]):
                chosen = groups
        for group in chosen:
            group.append(server)

    def _uses(self, app: str, server: str) -> bool:
        facts = self._facts[app]
        if any(self.owner(app, address) == server for what in USED for address in _used(facts, what)):
            return True
        # A proxy knows the servers it passes requests to, not they it.
        return any(self.owner(server, address) == app for what in ("web", "streaming") for address in _used(self._facts[server], what))


def groups(facts: t.Mapping[str, Facts]) -> dict[str, str]:
    """Group of each host, named after its first member, such that no two hosts of one instance are ever in two groups.

    A server that may be of any instance joins them all: of what depends on it, only one host is worked on at a time.
    """
    found = Instances(facts)
    leader = {host: host for host in facts}

    def find(host: str) -> str:
        while leader[host] != host:
            host = leader[host]
        return host

    for instance in found.all:
        for host in instance.hosts:
            leader[find(host)] = find(instance.hosts[0])
    placed = {host for instance in found.all for host in instance.hosts}
    for server in facts:
        if server not in placed and set(SERVERS[:3]) & roles(facts[server]):
            for host in facts:
                leader[find(host)] = find(server)
    first: dict[str, str] = {}
    return {host: first.setdefault(find(host), host) for host in facts}


def roles(facts: t.Any) -> set[str]:
    """What a host does for its instance; what is switched off there on purpose (a Redis it no longer needs) it does not do."""
    told = {str(role) for role in entries(branch(facts, "install").get("roles"))}
    units = [unit for unit in entries(branch(facts, "services").get("units")) if isinstance(unit, dict)]
    off = {unit.get("role") for unit in units} - {unit.get("role") for unit in units if unit.get("intended", True)}
    return told - off


def _has_app(facts: Facts) -> bool:
    install = branch(facts, "install")
    if install.get("found") is False:
        return False
    return bool(install.get("domain")) or not set(SERVERS) & roles(facts) or bool(set(APPS) & roles(facts))


def _keys(facts: Facts) -> list[tuple[str, str]]:
    """What hosts with the application share when they are of one instance."""
    if branch(facts, "logs").get("alone") is True:
        return []  # pasted lines are of nobody
    keys = []
    told, domain = branch(facts, "host").get("instance"), branch(facts, "install").get("domain")
    if told or domain:
        keys.append(("name", str(told or domain)))
    database = branch(facts, "database")
    address = str(database.get("address") or "")
    if address and not address.startswith(_THIS_HOST) and not told:
        keys.append(("database", f"{address} {database.get('name')}"))
    return keys


def _name(group: t.Sequence[str], facts: t.Mapping[str, Facts]) -> str:
    told = [branch(facts[host], "host").get("instance") for host in group]
    domains = [branch(facts[host], "install").get("domain") for host in group]
    return str(next(filter(None, [*told, *domains]), group[0]))


def _used(facts: Facts, what: str) -> list[str]:
    """Addresses at which this host's Mastodon, or its proxy, looks for a server."""
    if what == "database":
        found = [branch(facts, "database").get("address")]
    elif what == "redis":
        found = [use.get("address") for use in branch(facts, "redis", "uses").values() if isinstance(use, dict)]
    else:
        found = [each.get("address") for each in entries(branch(facts, what).get("endpoints")) if isinstance(each, dict)]
    return list(dict.fromkeys(str(address) for address in found if address))


def _server_of(address: str) -> str:
    match = re.match(r"\[([^\]]{1,60})\]|([^:/\s]{1,253})", address)
    return (match[1] or match[2]) if match else ""


def _plain(address: str) -> str:
    """One spelling for an address."""
    try:
        return str(ipaddress.ip_address(address.split("%")[0]))
    except ValueError:
        return address
