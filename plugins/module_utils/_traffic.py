# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the requests that reached the web process tell of the proxy before it and the database behind it.

A path is chosen by a visitor, but not where the proxy sends it: what belongs to the streaming server or lies in a folder of files must
never arrive at Puma. The same with addresses: one that is both another server and many people is a proxy's.
"""

from __future__ import annotations

import ipaddress
import re

from typing import Any, Dict, Set

SLOW_DATABASE_MILLISECONDS = 5000
ADDRESSES_LIMIT = 1000

_LIMITED = re.compile(r"Rate limit hit \((\w+)\): ([0-9A-Fa-f:.]{2,45}) ([A-Z]{3,7}) (/\S{0,300})")
_SERVERS = re.compile(r"/(?:inbox|actor|\.well-known/|nodeinfo)|/(?:users|ap/users)/[^/]+/(?:inbox|outbox|statuses|followers|following)")
_PEOPLE = re.compile(r"/api/v\d/(?!instance\b)|/auth/|/oauth/|/settings|/admin|/media_proxy/|/(?:web|home|public|explore|about)?(?:$|[/?])")
_SERVER_AGENT = re.compile(r"\bhttp\.rb/|; \+?https://|[Pp]leroma|[Mm]isskey|Akkoma|Lemmy|PeerTube|Friendica")


class Traffic:
    """Feed ``request`` and ``limit``, then take the results once. Nothing of what visitors sent is kept but counts."""

    def __init__(self) -> None:
        self.slow_database = 0
        self.at_streaming = 0
        self.static_missing = 0
        self._limits = 0
        self._servers: Set[str] = set()
        self._people: Set[str] = set()
        self._addresses: Set[str] = set()

    def request(self, message: bytes, status: bytes) -> None:
        """A request line of the web process, as bytes: it is one of millions."""
        database = _milliseconds(message, b" db=")
        if database >= SLOW_DATABASE_MILLISECONDS and database * 2 >= _milliseconds(message, b" duration="):
            self.slow_database += 1
        if status == b"404":
            if b" path=/api/v1/streaming" in message:
                self.at_streaming += 1
            elif b" path=/packs/" in message or b" path=/assets/" in message:
                self.static_missing += 1

    def limit(self, text: str) -> None:
        """A line of any kind; only those of Rack::Attack count."""
        found = _LIMITED.search(text)
        if found is None or found.group(1) != "throttle":
            return
        address, path = found.group(2), found.group(4)
        self._limits += 1
        if len(self._addresses) >= ADDRESSES_LIMIT:
            return
        self._addresses.add(address)
        if _SERVERS.match(path):
            self._servers.add(address)
        elif _PEOPLE.match(path):
            self._people.add(address)

    def refused(self, address: str, agent: str) -> None:
        """An answer 429 of a proxy's log: which address it counted, and the program that asked (of what people pasted)."""
        if len(self._addresses) < ADDRESSES_LIMIT:
            self._limits += 1
            self._addresses.add(address)
            if _SERVER_AGENT.search(agent):
                self._servers.add(address)
            elif agent.startswith("Mozilla/"):
                self._people.add(address)

    def requests(self) -> Dict[str, int]:
        """More of ``logs.requests`` of the contract."""
        return {"slow_database": self.slow_database, "at_streaming": self.at_streaming, "static_missing": self.static_missing}

    def limits(self) -> Dict[str, Any]:
        """``logs.rate_limits`` of the contract."""
        shared = {address for address in self._addresses if _private(address)} | (self._servers & self._people)
        return {"count": self._limits, "addresses": len(self._addresses), "shared": len(shared)}


def _milliseconds(message: bytes, key: bytes) -> int:
    """Whole ones of `key=1234.56`; 0 where there is none."""
    at = message.find(key)
    if at <= 0:
        return 0
    begin = at + len(key)
    dot = message.find(b".", begin, begin + 12)
    digits = message[begin:dot] if dot > 0 else b""
    return int(digits) if digits.isdigit() else 0


def _private(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return bool(mapped.is_loopback or (mapped.is_private and not _documentation(mapped)))


def _documentation(address: Any) -> bool:
    """Addresses of examples (RFC 5737, 3849) count as private for Python; no proxy has one, but people who hide theirs write them."""
    return any(address in ipaddress.ip_network(block) for block in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"))
