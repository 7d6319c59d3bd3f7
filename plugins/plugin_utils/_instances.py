# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts belong to one instance, so that no two of them are down at once. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import branch, entries

_THIS_HOST = ("/", "localhost", "127.", "[::1]", "::1")
_SERVERS = {"database", "redis", "pooler"}


def groups(facts: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Group of each host, named after its first member: those of one domain, those that share a database over the network.

    A host that only serves (a database server) knows no domain: it may serve any instance here and joins them all.
    """
    leader = {host: host for host in facts}

    def find(host: str) -> str:
        while leader[host] != host:
            host = leader[host]
        return host

    seen: dict[tuple[str, str], str] = {}
    servers = []
    for host, fact in facts.items():
        install, database = branch(fact, "install"), branch(fact, "database")
        keys = []
        if install.get("domain"):
            keys.append(("domain", str(install["domain"])))
        elif _SERVERS & {str(role) for role in entries(install.get("roles"))}:
            servers.append(host)
        address = str(database.get("address") or "")
        if address and not address.startswith(_THIS_HOST):
            keys.append(("database", f"{address} {database.get('name')}"))
        for key in keys:
            leader[find(host)] = find(seen.setdefault(key, host))
    for server in servers:
        for host in facts:
            leader[find(host)] = find(server)
    first: dict[str, str] = {}
    return {host: first.setdefault(find(host), host) for host in facts}
