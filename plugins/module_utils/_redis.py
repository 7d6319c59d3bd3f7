# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a Redis (or Valkey, KeyDB) server, over its own protocol RESP2 (private, may change any time).

Only commands that read are ever sent: AUTH, SELECT, INFO, CONFIG GET and the readers of Sidekiq's keys.
Source of the protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import socket

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind

MAX_REPLY_BYTES = 32 << 20
MAX_DEPTH = 8

READERS = frozenset(("AUTH", "SELECT", "INFO", "PING", "SMEMBERS", "HMGET", "HGETALL", "LLEN", "LINDEX", "ZCARD", "ZRANGE", "SCARD", "GET",
                     "MGET", "EXISTS", "ROLE", "SENTINEL"))

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    Connector = Callable[[Any], socket.socket]


class RedisError(Exception):
    """The server or the way to it failed: kind (refused no_socket timeout dns auth protocol) and one sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ErrorReply(str):
    """An error that the server answered to one command, as text."""


class Target(NamedTuple):
    """Where a Redis is: host and port, or the path of a Unix socket, with number of the database and credentials."""

    host: str
    port: int
    path: str
    database: int
    user: str
    password: str
    tls: bool

    @property
    def label(self) -> str:
        """What may be shown: the place without credentials."""
        return "%s/%d" % (self.path or ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port), self.database)


def from_url(url: str) -> Target:
    """A Target from redis://, rediss:// or unix:// as redis-rb reads them; RedisError(protocol) when it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
        if parts.scheme == "unix":
            return Target("", 0, parts.path, 0, "", unquote(parts.password or ""), False)
        if parts.scheme not in ("redis", "rediss"):
            raise ValueError
        database = int(parts.path.strip("/") or 0)
    except ValueError:
        raise RedisError("protocol", "the Redis URL is not of the form redis://host:port/number") from None
    # redis-rb: redis://secret@host is a user without password, redis://:secret@host a password.
    return Target(parts.hostname or "localhost", port, "", database, unquote(parts.username or "") if parts.password else "",
                  unquote(parts.password or ""), parts.scheme == "rediss")


class Redis:
    """One connection. Use as a context manager; every wait is bounded by the timeout of the socket that `connect` returns."""

    def __init__(self, connect: Connector, target: Target) -> None:
        self._buffer = bytearray()
        self._taken = 0
        try:
            self._socket = connect(target.path or (target.host, target.port))
            if target.tls:
                import ssl
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=target.host)
        except OSError as problem:
            raise connection_error(problem, target.label) from None
        try:
            opening: list[Sequence[str]] = []
            if target.password:
                opening.append(("AUTH", target.user, target.password) if target.user else ("AUTH", target.password))
            if target.database:
                opening.append(("SELECT", str(target.database)))
            opening.append(("PING",))
            for reply in self.ask(*opening):
                if isinstance(reply, ErrorReply) and not reply.startswith(("MISCONF", "LOADING", "BUSY", "MASTERDOWN")):
                    kind = "auth" if reply.startswith(("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password")) else "protocol"
                    raise RedisError(kind, "Redis at %s answered: %s" % (target.label, reply[:120]))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def ask(self, *commands: Sequence[str]) -> list[Any]:
        """Send commands in one go, give their replies in order: str, int, list, None, or ErrorReply."""
        request = bytearray()
        for command in commands:
            if command[0] not in READERS and tuple(command[:2]) != ("CONFIG", "GET"):
                raise ValueError("not a reading command: " + command[0])
            request += b"*%d\r\n" % len(command)
            for word in command:
                data = word.encode("utf-8", "surrogateescape")
                request += b"$%d\r\n%s\r\n" % (len(data), data)
        try:
            self._socket.sendall(request)
            return [self._reply(0) for _command in commands]
        except OSError as problem:
            raise connection_error(problem, "its address") from None

    def _more(self) -> None:
        part = self._socket.recv(65536)
        if not part:
            raise RedisError("protocol", "Redis closed the connection")
        if self._taken > 1 << 20:
            del self._buffer[:self._taken]
            self._taken = 0
        self._buffer += part
        if len(self._buffer) - self._taken > MAX_REPLY_BYTES:
            raise RedisError("protocol", "Redis answered more than %d bytes" % MAX_REPLY_BYTES)

    def _line(self) -> bytes:
        while True:
            end = self._buffer.find(b"\r\n", self._taken)
            if end >= 0:
                line = bytes(self._buffer[self._taken:end])
                self._taken = end + 2
                return line
            self._more()

    def _reply(self, depth: int) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode("utf-8", "replace")
        if kind == b"-":
            return ErrorReply(rest.decode("utf-8", "replace"))
        try:
            number = int(rest)
        except ValueError:
            raise RedisError("protocol", "what answers there does not speak the Redis protocol") from None
        if kind == b":":
            return number
        if kind == b"$":
            if number < 0:
                return None
            while len(self._buffer) - self._taken < number + 2:
                self._more()
            data = bytes(self._buffer[self._taken:self._taken + number])
            self._taken += number + 2
            return data.decode("utf-8", "surrogateescape")
        if kind == b"*" and depth < MAX_DEPTH and number < 1000000:
            return None if number < 0 else [self._reply(depth + 1) for _item in range(number)]
        raise RedisError("protocol", "what answers there does not speak the Redis protocol")


def connection_error(problem: OSError, where: str) -> RedisError:
    """The RedisError for a failed connection."""
    return RedisError(error_kind(problem), "Redis at %s: %s" % (where, problem.strerror or type(problem).__name__))


def information(text: str) -> dict[str, str]:
    """INFO as a dictionary."""
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line and not line.startswith("#"))
