# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of this host, and those of the servers that its Mastodon uses: so that a split install can be put together (private)."""

from __future__ import annotations

import ipaddress
import re
import socket

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

MOST_OWN = 64
MOST_ANSWERS = 2
CONNECT_SECONDS = 0.4
MOST_NAMES = 8
MOST_OF_A_NAME = 8
_LOCAL = ("localhost", "")


def own(host: Host) -> list[str]:
    """This host's addresses, but loopback and link-local ones, which every host has (/proc/net: no command, no permission)."""
    found = re.findall(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL", host.maybe("/proc/net/fib_trie", 1 << 20) or "")
    lines = (host.maybe("/proc/net/if_inet6", 1 << 18) or "").splitlines()
    found += [str(ipaddress.IPv6Address(int(line[:32], 16))) for line in lines if re.match(r"[0-9a-f]{32} ", line)]
    return sorted(each for each in set(found) if not _everywhere(each))[:MOST_OWN]


def names(facts: dict[str, Any]) -> list[str]:
    """Names, not addresses, of servers that the facts say this Mastodon uses."""
    database = facts.get("database", {})
    used = [database.get("address")] + [use.get("address") for use in facts.get("redis", {}).get("uses", {}).values()]
    used += [each.get("address") for subset in ("web", "streaming") for each in facts.get(subset, {}).get("endpoints", ())]
    found = [server_of(address) for address in used if address]
    return [name for name in dict.fromkeys(found) if name not in _LOCAL and not is_address(name)][:MOST_NAMES]


def server_of(address: str) -> str:
    """`db.internal` of `db.internal:5432`, `::1` of `[::1]:6379/0`; empty for the path of a socket."""
    if address.startswith("/"):
        return ""
    match = re.match(r"\[([0-9a-fA-F:.%\w]+)\]|([^:/\s]{1,253})", address)
    return (match.group(1) or match.group(2)) if match else ""


def resolve(asked: list[str]) -> dict[str, list[str]]:
    """Addresses of names as this host resolves them; one that does not resolve is left out. May hang as long as its resolver does."""
    found = {}
    for name in asked:
        try:
            answers = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError):
            continue
        found[name] = sorted({str(each[4][0]) for each in answers})[:MOST_OF_A_NAME]
    return found


def over_ipv6(host: Host, domain: str, here: list[str]) -> list[dict[str, Any]]:
    """``proxy.ipv6`` of the contract: whether HTTPS answers at the addresses that the domain's AAAA records promise. ``here``: ``own``."""
    try:
        answers = socket.getaddrinfo(domain, 443, socket.AF_INET6, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):  # no such record, or no resolver: both are no promise
        return []
    found = []
    for address in sorted({str(each[4][0]) for each in answers if not _everywhere(str(each[4][0]))})[:MOST_ANSWERS]:
        entry: dict[str, Any] = {"address": address, "here": address in here, "answers": True}
        try:
            host.connect((address, 443), CONNECT_SECONDS).close()
        except OSError as problem:
            entry.update(answers=False, error=error_kind(problem))
        found.append(entry)
    return found


def is_address(text: str) -> bool:
    """Whether it is an IP address and not a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _everywhere(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return address.is_loopback or address.is_link_local or address.is_unspecified
