# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the different servers elsewhere that Mastodon could not talk to: one that fails is its own fault, many at once are ours.

What is wrong is told by the class of the exception and the words of Ruby and http.rb, to which ``Mastodon::Request`` adds ``on <URL>``;
which server it was by the first address in the message. Names of servers are counted, never handed on.
"""

from __future__ import annotations

import re

from typing import Any, Dict, Optional, Set, Tuple

HOSTS_LIMIT = 500  # of each kind; more are as good as all

# A mail relay is no part of the federation.
_HOST = re.compile(
    r"https?://([^/\s:?#\"']{1,253})|No address for ([^\s:\"']{1,253})|peeraddr=([^\s,]{1,60}):(?!25\b|465\b|587\b|2525\b)\d"
    r"|tcp connection to \"?([^\s:\"']{1,253})"
)
_ADDRESS = re.compile(r"connect\(2\) for (?:\[([0-9A-Fa-f:]{2,45})\]|(\d{1,3}(?:\.\d{1,3}){3})):(?:443|80)\b")  # where no URL is told
_KINDS: Tuple[Tuple[str, str, str], ...] = (  # kind, classes, words; the first that fits
    ("unauthorized", r"Mastodon::UnexpectedResponseError$", r"returned code 401\b"),
    ("refused", r"Mastodon::UnexpectedResponseError$", r"returned code 4(?!04|10|29)\d\d\b"),
    ("not_yet_valid", r"(?:OpenSSL::SSL::SSLError|HTTP::ConnectionError)$", r"not (?:yet valid|valid yet)"),
    ("tls", r"(?:OpenSSL::SSL::SSLError|HTTP::ConnectionError)$", r"SSL_connect|certificate|sslv3|tlsv1|SSL_read|SSL routines"),
    ("resolve", r"(?:HTTP::ConnectionError|SocketError|Socket::ResolutionError|Resolv::\w+|Addrinfo\w*|Mastodon::HostValidationError)$",
     r"No address for|getaddrinfo|[Nn]ame or service not known|[Nn]ame resolution|nodename nor servname|DNS"),
    ("timeout", r"(?:HTTP::(?:Timeout|ConnectTimeout|Connection)Error|Net::(?:Open|Read)Timeout|Errno::ETIMEDOUT)$",
     r"[Tt]imed? ?out|expired"),
    ("connect", r"(?:HTTP::ConnectionError|Errno::(?:ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ECONNRESET|EADDRNOTAVAIL))$", r""),
)  # fmt: skip
_COMPILED = tuple((kind, re.compile(classes), re.compile(words)) for kind, classes, words in _KINDS)


class Remotes:
    """Feed ``add`` with each exception, then take ``result`` once."""

    def __init__(self) -> None:
        self._hosts: Dict[str, Set[str]] = {}
        self._counts: Dict[str, int] = {}

    def add(self, name: str, message: str) -> None:
        """``name``: class of the exception, ``message``: its own words."""
        host = _host(message)
        if host is None:
            return
        for kind, classes, words in _COMPILED:
            if classes.match(name) and words.search(message):
                hosts = self._hosts.setdefault(kind, set())
                if len(hosts) < HOSTS_LIMIT:
                    hosts.add(host)
                self._counts[kind] = self._counts.get(kind, 0) + 1
                return

    def result(self) -> Dict[str, Any]:
        """``logs.remotes`` of the contract: {kind: {hosts, count}}, zero when there was none."""
        return {kind: {"hosts": len(self._hosts.get(kind, ())), "count": self._counts.get(kind, 0)} for kind, _classes, _words in _KINDS}


def _host(message: str) -> Optional[str]:
    found = _HOST.search(message) or _ADDRESS.search(message)
    if found is None:
        return None
    name = next((part for part in found.groups() if part), "")
    return name.rpartition("@")[2].rstrip(".").lower() or None
