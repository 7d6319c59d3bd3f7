# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the container engine over its Unix socket: HTTP as Docker and podman speak it, bounded (private, may change any time).

Only questions, but for `run`, which starts a command inside a container that runs already, and `act`, which is for fixes. Paths carry no
version: the engine then takes them as its own. Source: https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import struct
import tarfile
import time

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError, denied
from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind
from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import ByteStream, Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    Connector = Callable[[float], socket.socket]

# Docker, then podman run by root with its Docker-compatible service.
SOCKETS = ("/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock")
MAX_ANSWER_BYTES = 8 << 20
SILENT_SECONDS = 5.0
_ID = re.compile(r"^[0-9a-f]{12,64}$")


class Missing(HostError):
    """The engine knows no such thing."""


class Engine:
    """The engine behind a socket; `connect(seconds)` gives a connection to it."""

    def __init__(self, host: Host, connect: Connector) -> None:
        self._host = host
        self._connect = connect

    def get(self, path: str, **query: str) -> Any:
        """The JSON that a GET answers; Missing for 404, HostError for all else that is no 200."""
        with self._ask("GET", path, query, None, SILENT_SECONDS) as answer:
            return _json(_bounded(answer, MAX_ANSWER_BYTES), path)

    def act(self, path: str, seconds: float, **query: str) -> None:
        """POST that starts, stops or pauses; what is that way already is well."""
        with self._ask("POST", path, query, None, seconds):
            return

    def file(self, container: str, path: str, most: int) -> bytes:
        """The first `most` bytes of a regular file of a container, running or not; Missing when it has none of that name."""
        for _link in range(4):
            with self._ask("GET", "/containers/%s/archive" % _known(container), {"path": path}, None, SILENT_SECONDS) as answer:
                data = _bounded(answer, most + (64 << 10), cut=True)
            try:
                with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                    member = archive.next()
                    if member is None:
                        raise Missing("%s is not in the container" % path)
                    if member.issym():
                        path = member.linkname if member.linkname.startswith("/") else path.rsplit("/", 1)[0] + "/" + member.linkname
                        continue
                    if not member.isreg():
                        raise Missing("%s is not a regular file" % path)
                    return data[member.offset_data:member.offset_data + min(most, member.size)]
            except tarfile.TarError:
                raise HostError("the engine sent %s as no archive" % path) from None
        raise Missing("%s leads to links only" % path)

    def logs(self, container: str, since_epoch: float, lines: int, tty: bool, deadline: float, max_bytes: int,
             until_epoch: float = 0.0) -> ByteStream:
        """The newest `lines` lines of a container since then (and until then, unless 0), each with its time before it, as
        `docker logs --timestamps` prints them."""
        stream = ByteStream(iter(()))
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "since": "%.6f" % since_epoch, "tail": str(lines)}
        if until_epoch:
            query["until"] = "%.6f" % until_epoch

        def chunks() -> Iterator[bytes]:
            try:
                with self._ask("GET", "/containers/%s/logs" % _known(container), query, None, SILENT_SECONDS) as answer:
                    room = max_bytes
                    for part in _raw(answer) if tty else _payloads(answer):
                        yield part[1]
                        room -= len(part[1])
                        if room <= 0:
                            stream.truncated, stream.reason = True, "only the first %d bytes were read" % max_bytes
                            return
                        if time.monotonic() > deadline:
                            stream.truncated, stream.reason = True, "the time was up"
                            return
            except HostError as problem:
                stream.truncated, stream.reason = True, str(problem)
            except (OSError, http.client.HTTPException) as problem:
                stream.truncated, stream.reason = True, "the engine broke off: %s" % type(problem).__name__

        stream._chunks = chunks()
        return stream

    def run(self, container: str, argv: Sequence[str], seconds: float, max_bytes: int, user: str = "",
            environment: dict[str, str] | None = None) -> Completed:
        """Run a command in a running container, without a shell; rc is None when it was not done in time (it then runs on)."""
        wanted = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(argv), "User": user,
                  "Env": ["%s=%s" % pair for pair in (environment or {}).items()]}
        with self._ask("POST", "/containers/%s/exec" % _known(container), {}, wanted, SILENT_SECONDS) as answer:
            number = _known(str(_json(_bounded(answer, MAX_ANSWER_BYTES), "exec").get("Id", "")))
        out, err, cut = bytearray(), bytearray(), False
        end = time.monotonic() + self._host.left(seconds)
        try:
            with self._ask("POST", "/exec/%s/start" % number, {}, {"Detach": False, "Tty": False}, self._host.left(seconds)) as answer:
                for kind, part in _payloads(answer):
                    (err if kind == 2 else out).extend(part)
                    cut = cut or len(out) > max_bytes
                    if cut or time.monotonic() > end:
                        break
        except (OSError, http.client.HTTPException):
            return Completed(None, bytes(out[:max_bytes]), bytes(err[:65536]), cut)
        state = self.get("/exec/%s/json" % number)
        rc = state.get("ExitCode") if isinstance(state, dict) and not state.get("Running") else None
        return Completed(rc, bytes(out[:max_bytes]), bytes(err[:65536]), cut)

    def _ask(self, method: str, path: str, query: dict[str, str], body: Any, seconds: float) -> _Answer:
        try:
            link = self._connect(seconds)
        except OSError as problem:
            raise _no_way(problem) from None
        connection = http.client.HTTPConnection("localhost")
        connection.sock = link
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path + ("?" + urlencode(query, quote_via=quote) if query else ""), data,
                               {"Content-Type": "application/json"} if data is not None else {})
            answer = connection.getresponse()
            if answer.status in (101, 200, 201, 204, 304):
                return _Answer(connection, answer)
            said = _message(answer)
        except socket.timeout:
            connection.close()
            raise HostError("the container engine did not answer within %.0f s" % seconds) from None
        except (OSError, http.client.HTTPException) as problem:
            connection.close()
            raise HostError("what answers at the container engine's socket does not speak HTTP (%s)" % type(problem).__name__) from None
        connection.close()
        raise (Missing if answer.status == 404 else HostError)("the container engine answered %d: %s" % (answer.status, said))


class _Answer:
    """An answer whose connection ends with it; also what the engine sends after 101, which http.client takes for the end."""

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._answer = answer

    def __enter__(self) -> http.client.HTTPResponse:
        return self._answer

    def __exit__(self, *_exception: object) -> None:
        self._answer.close()
        self._connection.close()


def find(host: Host) -> str:
    """Path of the engine's socket without links, empty when this host has none; HostDenied when we may not talk to it."""
    for path in SOCKETS:
        real = host.real(path)
        if not host.exists(real):
            continue
        try:
            host.connect(real, 2.0).close()
        except OSError as problem:
            if error_kind(problem) == "denied":
                raise denied("the socket of the container engine (%s)" % path) from None
            continue  # left behind by an engine that runs no more
        return real
    return ""


def at(host: Host, path: str) -> Engine:
    """The engine behind the socket at that path."""
    return Engine(host, lambda seconds: host.connect(path, seconds))


def _no_way(problem: OSError) -> HostError:
    if error_kind(problem) == "denied":
        return denied("the socket of the container engine")
    return HostError("the container engine does not answer: %s" % (problem.strerror or "no answer in time"))


def _known(identifier: str) -> str:
    """An id fit for a path; what is none came from nobody we asked."""
    if not _ID.match(identifier):
        raise HostError("the container engine named an id that is none")
    return identifier


def _json(data: bytes, what: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise HostError("the container engine answered %s with what is no JSON" % what[:60]) from None


def _bounded(answer: http.client.HTTPResponse, most: int, cut: bool = False) -> bytes:
    try:
        data = answer.read(most + 1)
    except (OSError, http.client.HTTPException) as problem:
        raise HostError("the container engine broke off its answer (%s)" % type(problem).__name__) from None
    if len(data) > most and not cut:
        raise HostError("the container engine answered more than %d bytes" % most)
    return data[:most]


def _message(answer: http.client.HTTPResponse) -> str:
    """What the engine says of an error, as one short line."""
    try:
        told = json.loads(answer.read(4096)).get("message", "")
    except (ValueError, AttributeError, OSError, http.client.HTTPException):
        told = ""
    return "".join(each if each.isprintable() else " " for each in str(told))[:200] or "no reason given"


def _raw(answer: http.client.HTTPResponse) -> Iterator[tuple[int, bytes]]:
    while True:
        part = answer.read1(65536)
        if not part:
            return
        yield 1, part


def _payloads(answer: http.client.HTTPResponse) -> Iterator[tuple[int, bytes]]:
    """(1 for standard output or 2 for standard error, bytes): the frames that both come in, eight bytes of head before each."""
    while True:
        head = _exactly(answer, 8)
        if len(head) < 8:
            return
        kind, size = struct.unpack("!BxxxI", head)
        if kind > 2 or size > MAX_ANSWER_BYTES:
            raise HostError("the container engine sent output in an unknown form")
        yield kind, _exactly(answer, size)


def _exactly(answer: http.client.HTTPResponse, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = answer.read(size - len(data))
        if not part:
            return data
        data += part
    return data
