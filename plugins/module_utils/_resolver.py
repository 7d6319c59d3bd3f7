# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look a name up as a container does: its /etc/hosts, then the name server of its network (private, may change any time).

Not the C library's resolver: inside a container's files it would load the plug-ins that these name, into a process of root's.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

A, AAAA = 1, 28
_NO_SUCH_WAY = (errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EAFNOSUPPORT)
_TRIES_SECONDS = (1.0, 2.0)
_NAME = re.compile(r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?$")


def lookup(host: Host, name: str) -> list[str]:
    """Addresses of a name, as `host` sees /etc/hosts and /etc/resolv.conf; socket.gaierror as the C library would raise it."""
    bare = name.strip("[]")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, bare)
            return [bare]
        except OSError:
            continue
    found = [words[0] for words in _lines(host, "/etc/hosts") if name.lower() in [word.lower() for word in words[1:]]]
    if found:
        return found[:8]
    if not _NAME.match(name):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    servers, searched, dots = _settings(host)
    names = ["%s.%s" % (name, each) for each in searched] if not name.endswith(".") else []
    names.insert(0 if name.count(".") >= dots else len(names), name.rstrip("."))
    silent = False
    for each in names:
        for kind in (A, AAAA):
            answer = _ask(host, servers, each, kind)
            silent = silent or answer is None
            if answer:
                return answer[:8]
    if silent:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _lines(host: Host, path: str) -> Iterator[list[str]]:
    for line in (host.maybe(path, 65536) or "").splitlines():
        words = line.split("#", 1)[0].split()
        if len(words) > 1:
            yield words


def _settings(host: Host) -> tuple[list[str], list[str], int]:
    servers: list[str] = []
    searched: list[str] = []
    dots = 1
    for words in _lines(host, "/etc/resolv.conf"):
        if words[0] == "nameserver":
            servers.append(words[1].split("%")[0])
        elif words[0] in ("search", "domain"):
            searched = [word for word in words[1:7] if _NAME.match(word)]
        elif words[0] == "options":
            dots = next((int(word[6:]) for word in words if re.match(r"^ndots:\d{1,2}$", word)), dots)
    return servers[:3] or ["127.0.0.1"], searched, dots


def _ask(host: Host, servers: list[str], name: str, kind: int) -> list[str] | None:
    """Addresses; empty when there is no such name, None when no server answers or none can tell."""
    number = struct.unpack("!H", os.urandom(2))[0]
    labels = b"".join(bytes([len(part)]) + part for part in name.encode("ascii").split(b"."))
    question = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\x00" + struct.pack("!2H", kind, 1)
    for seconds in _TRIES_SECONDS:
        for server in servers:
            answer = _one(server, question, host.left(seconds))
            if answer is not None and len(answer) >= 12 and answer[:2] == question[:2]:
                code = answer[3] & 0x0F
                if code in (0, 3):
                    return _addresses(answer, kind) if code == 0 else []
    return None


def _one(server: str, question: bytes, seconds: float) -> bytes | None:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as link:
            link.settimeout(seconds)
            link.connect((server, 53))
            link.send(question)
            return link.recv(4096)
    except OSError:
        return None


def _addresses(answer: bytes, kind: int) -> list[str]:
    try:
        questions, answers = struct.unpack("!2H", answer[4:8])
        at = 12
        for _question in range(questions):
            at = _behind_name(answer, at) + 4
        found = []
        for _answer in range(min(answers, 64)):
            at = _behind_name(answer, at)
            which, _class, _life, size = struct.unpack("!2HIH", answer[at:at + 10])
            data = answer[at + 10:at + 10 + size]
            at += 10 + size
            if which == kind and len(data) == (4 if kind == A else 16):
                found.append(socket.inet_ntop(socket.AF_INET if kind == A else socket.AF_INET6, data))
        return found
    except (struct.error, IndexError, ValueError):
        return []


def _behind_name(answer: bytes, at: int) -> int:
    while answer[at]:
        if answer[at] >= 0xC0:
            return at + 2
        at += answer[at] + 1
    return at + 1


def connect(addresses: list[str], port: int, seconds: Callable[[], float]) -> socket.socket:
    """Connect to the first address that takes it; the most telling OSError when none does."""
    problem: OSError = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    for address in addresses:
        link = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        link.settimeout(seconds())
        try:
            link.connect((address, port))
        except OSError as failure:
            link.close()
            # Of addresses of a kind that is not in use here, as ::1 is not in most containers, the others tell more.
            if isinstance(problem, socket.gaierror) or failure.errno not in _NO_SUCH_WAY:
                problem = failure
            continue
        return link
    raise problem
