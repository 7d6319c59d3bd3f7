# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names for what goes wrong on the way to a server, and the smallest possible HTTP question (private, may change any time)."""

from __future__ import annotations

import errno
import re
import socket
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

MAX_ANSWER_BYTES = 65536
STATUS = re.compile(rb"HTTP/\d\.\d ([1-9]\d\d)\b")
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d{1,9})(?:\r|\Z)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


def error_kind(problem: OSError) -> str:
    """One word for a failed connection: refused no_socket timeout dns tls denied unreachable reset protocol."""
    # By name: most who ask need no TLS and should not load it. Its numbers are OpenSSL's own, and 1 of them would read as EPERM.
    if "SSLError" in [each.__name__ for each in type(problem).__mro__]:
        return "tls"
    if isinstance(problem, socket.timeout):
        return "timeout"
    if isinstance(problem, socket.gaierror):
        return "dns"
    number = problem.errno
    if number == errno.ECONNREFUSED:
        return "refused"
    if number in (errno.ENOENT, errno.ENOTDIR):
        return "no_socket"
    if number in (errno.ETIMEDOUT, errno.EAGAIN):
        return "timeout"
    if number in (errno.EACCES, errno.EPERM):
        return "denied"
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL):
        return "unreachable"
    if number in (errno.ECONNRESET, errno.EPIPE):
        return "reset"
    return "protocol"


def split_address(address: str) -> str | tuple[str, int]:
    """`127.0.0.1:3000`, `[::1]:3000` or `/run/x.sock` for Host.connect; an address that listens everywhere is asked on loopback."""
    if address.startswith("/"):
        return address
    host, _colon, port = address.rpartition(":")
    host = host.strip("[]")
    return ({"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}.get(host, host), int(port))


def ask_health(host: Host, address: str, path: str, headers: dict[str, str], seconds: float = 3.0) -> dict[str, Any]:
    """GET path from a server at address, as a proxy would: {address, healthy, status?, seconds, error?}."""
    started = time.monotonic()
    result: dict[str, Any] = {"address": address, "healthy": False}
    try:
        answer = get(host.connect(split_address(address), seconds), path, headers, started + seconds)
        first = STATUS.match(answer)
        if first:
            result["status"] = int(first.group(1))
            result["healthy"] = result["status"] == 200
        else:
            result["error"] = {"kind": "protocol" if answer else "reset", "message": "no HTTP answer"}
    except OSError as problem:
        result["error"] = {"kind": error_kind(problem), "message": (problem.strerror or "no answer within %.1f s" % seconds)}
    result["seconds"] = round(time.monotonic() - started, 3)
    return result


def get(link: socket.socket, path: str, headers: dict[str, str], deadline: float) -> bytes:
    """GET path over a connection that is closed then: the answer as it came, at most MAX_ANSWER_BYTES; OSError without a whole head."""
    answer = bytearray()
    try:
        lines = ["GET %s HTTP/1.1" % path, "Connection: close", "User-Agent: fediops.mastodon"]
        lines += ["%s: %s" % pair for pair in headers.items()]
        link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii", "replace"))
        while len(answer) < MAX_ANSWER_BYTES and not _is_whole(answer):
            # The timeout of the socket is per read: a server that drips bytes must not hold us longer than agreed.
            left = deadline - time.monotonic()
            if left <= 0:
                raise socket.timeout()
            link.settimeout(left)
            part = link.recv(65536)
            if not part:
                break
            answer += part
    except OSError:
        if _HEAD_END not in answer:
            raise
    finally:
        link.close()
    return bytes(answer)


def _is_whole(answer: bytearray) -> bool:
    end = answer.find(_HEAD_END)
    length = _LENGTH.search(answer, 0, end) if end >= 0 else None
    return length is not None and len(answer) - end - len(_HEAD_END) >= int(length.group(1))
