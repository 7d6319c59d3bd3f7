# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names for what goes wrong on the way to a server, and the smallest possible HTTP question (private, may change any time)."""

from __future__ import annotations

import errno
import socket
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

MAX_ANSWER_BYTES = 65536


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
    asked = {"Connection": "close", "User-Agent": "fediops.mastodon", **headers}
    try:
        answer = get(host.connect(split_address(address), seconds), path, asked, started + seconds)
        result.update(answer[0])
        result["healthy"] = result.get("status") == 200
    except OSError as problem:
        result["error"] = {"kind": error_kind(problem), "message": (problem.strerror or "no answer within %.1f s" % seconds)}
    result["seconds"] = round(time.monotonic() - started, 3)
    return result


def get(link: socket.socket, path: str, headers: dict[str, str], deadline: float, protocol: str = "1.1") -> tuple[dict[str, Any], bytes]:
    """GET path over a connection that is closed then: ({status} or {error}, the body as it came); OSError as the connection gives it."""
    answer = bytearray()
    try:
        lines = ["GET %s HTTP/%s" % (path, protocol), *("%s: %s" % pair for pair in headers.items())]
        link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii", "replace"))
        while len(answer) < MAX_ANSWER_BYTES:
            # The timeout of the socket is per read: a server that drips bytes must not hold us longer than agreed.
            if time.monotonic() > deadline:
                raise socket.timeout()
            part = link.recv(65536)
            if not part:
                break
            answer += part
    finally:
        link.close()
    first = bytes(answer[:64]).split(b"\r\n", 1)[0].split(b" ")
    if len(first) < 2 or not first[0].startswith(b"HTTP/") or not first[1].isdigit():
        return {"error": {"kind": "protocol" if answer else "reset", "message": "no HTTP answer"}}, b""
    return {"status": int(first[1])}, bytes(answer).partition(b"\r\n\r\n")[2]
