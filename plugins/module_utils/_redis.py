# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a Redis (or Valkey, KeyDB) server, over its own protocol RESP2 (private, may change any time).

Only commands that read are sent: AUTH, SELECT, INFO, CONFIG GET and the readers of Sidekiq's keys; a fix widens that by name.
Source of the protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import re
import socket
import time

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind

MAX_REPLY_BYTES = 32 << 20
MAX_DEPTH = 8
SILENT_SECONDS = 4.0  # for one answer; the connection as a whole has its own limit

READERS = frozenset(("AUTH", "SELECT", "INFO", "PING", "SMEMBERS", "HGET", "HMGET", "HGETALL", "HKEYS", "HSTRLEN",
                     "LLEN", "LINDEX", "ZCARD", "ZRANGE", "SCARD", "GET", "MGET", "EXISTS", "ROLE", "SENTINEL"))

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    Connector = Callable[[Any], socket.socket]


class RedisError(Exception):
    """The server or the way to it failed: kind (refused no_socket timeout dns tls auth protocol configuration …) and one sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ErrorReply(str):
    """An error that the server answered to one command, as text."""

    @property
    def code(self) -> str:
        """The first word (LOADING, NOPERM, ERR …). Only this may be shown: the rest can repeat what the server was sent."""
        return re.sub(r"[^A-Za-z]", "", self.split(" ", 1)[0])[:20] or "an error"


class Target(NamedTuple):
    """Where a Redis is: host and port, or the path of a Unix socket, with number of the database and credentials."""

    host: str
    port: int
    path: str
    database: int
    user: str
    password: str
    tls: bool
    forgiving: bool = False  # redis-rb 4 tries the password alone when the server knows no such user

    @property
    def label(self) -> str:
        """What may be shown: the place without credentials."""
        return "%s/%d" % (self.path or ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port), self.database)


def from_url(url: str, lone_user_is_password: bool = False) -> Target:
    """A Target from redis://, rediss:// or unix://; RedisError(configuration) when it is none.

    redis://secret@host is a user without password for redis-rb 4, and a password for redis-client.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port or 6379
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if lone_user_is_password and user and not password:
            user, password = "", user
        if parts.scheme == "unix":
            return Target("", 0, parts.path, 0, user if password else "", password, False)
        if parts.scheme not in ("redis", "rediss"):
            raise ValueError
        database = int(parts.path.strip("/") or 0)
    except ValueError:
        raise RedisError("configuration", "the Redis URL is not of the form redis://host:port/number") from None
    return Target(parts.hostname or "localhost", port, "", database, user if password else "", password, parts.scheme == "rediss")


class Redis:
    """One connection of at most `seconds`. Use as a context manager."""

    commands = READERS

    def __init__(self, connect: Connector, target: Target, seconds: float = 10.0) -> None:
        self._buffer = bytearray()
        self._taken = 0
        self._end = time.monotonic() + seconds
        self._label = target.label
        try:
            self._socket = connect(target.path or (target.host, target.port))
            if target.tls:
                import ssl
                self._wait()
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=target.host)
        except OSError as problem:
            raise connection_error(problem, target.label) from None
        try:
            opening: list[Sequence[str]] = []
            user = target.user
            if user and target.password and target.forgiving:
                refusal = self.ask(("AUTH", user, target.password))[0]
                if isinstance(refusal, ErrorReply) and refusal.startswith(("WRONGPASS", "ERR wrong number of arguments")):
                    user = ""
            if target.password:
                opening.append(("AUTH", user, target.password) if user else ("AUTH", target.password))
            if target.database:
                opening.append(("SELECT", str(target.database)))
            opening.append(("PING",))
            for reply in self.ask(*opening):
                if isinstance(reply, ErrorReply) and not reply.startswith(("MISCONF", "LOADING", "BUSY", "MASTERDOWN")):
                    kind = "auth" if reply.startswith(("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password")) else "protocol"
                    raise RedisError(kind, "Redis at %s answered %s" % (target.label, reply.code))
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
            if command[0] not in self.commands and tuple(command[:2]) != ("CONFIG", "GET"):
                raise ValueError("not a reading command: " + command[0])
            request += b"*%d\r\n" % len(command)
            for word in command:
                data = word.encode("utf-8", "surrogateescape")
                request += b"$%d\r\n%s\r\n" % (len(data), data)
        try:
            self._wait()
            self._socket.sendall(request)
            return [self._reply(0) for _command in commands]
        except OSError as problem:
            raise connection_error(problem, self._label) from None

    def _wait(self) -> None:
        """Bound the next wait by what is left of the connection: a server that drips bytes must not hold us."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise socket.timeout()
        self._socket.settimeout(min(left, SILENT_SECONDS))

    def _more(self) -> None:
        self._wait()
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
    kind = error_kind(problem)
    words = "no answer" if kind == "timeout" else problem.strerror or type(problem).__name__
    if kind == "tls":
        words = "TLS failed: %s" % (getattr(problem, "verify_message", "") or getattr(problem, "reason", "") or type(problem).__name__)
    return RedisError(kind, "Redis at %s: %s" % (where, words))


def information(text: str) -> dict[str, str]:
    """INFO as a dictionary."""
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line and not line.startswith("#"))
