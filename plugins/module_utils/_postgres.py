# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask PostgreSQL, or PgBouncer before it, over the protocol version 3 (private, may change any time).

Enough of the protocol to be the client that the app is: Unix socket or TCP, TLS as libpq does it, peer, trust, clear-text, MD5 and
SCRAM-SHA-256 authentication, the simple query. Only SELECT is ever sent, and never SET: behind a transaction pooler it would stay on a
server connection that the app uses next. No driver is needed on the host.
Source: https://www.postgresql.org/docs/current/protocol.html
"""

from __future__ import annotations

import socket
import struct
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_login import Login
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError, Target, attempts, tls_context

MAX_MESSAGE_BYTES = 4 << 20
MAX_ROWS = 20000
SILENT_SECONDS = 4.0  # for one answer, unless asked for more; the session as a whole has its own limit

if TYPE_CHECKING:
    from collections.abc import Callable
    Connector = Callable[[Any], socket.socket]

# SQLSTATE, not the text, decides: the text comes in the server's language. PgBouncer uses 08P01 for nearly all, so its words count too.
_STATES = {"28P01": "auth", "28000": "auth", "3D000": "no_database", "53300": "too_many", "57P03": "starting", "57P01": "starting",
           "57P02": "starting"}
_POOLER_WORDS = (("no more connections allowed", "too_many"), ("max_client_conn", "too_many"), ("query_wait_timeout", "too_many"),
                 ("password authentication failed", "auth"), ("SASL authentication failed", "auth"), ("no such user", "auth"),
                 ("no such database", "no_database"), ("does not exist", "no_database"), ("server_login_retry", "refused"),
                 ("pgbouncer cannot connect to server", "refused"), ("the database system is", "starting"))
_SAME_WITHOUT_TLS = ("too_many", "starting", "no_database", "unsupported")


class Postgres:
    """One session of at most `seconds`, of which one answer may take `silent_seconds`. Use as a context manager.

    `parameters` holds what the server reported at the start (server_version, encodings …), `backend` the process it names for cancelling.
    """

    def __init__(self, connect: Connector, target: Target, seconds: float = 10.0, silent_seconds: float = SILENT_SECONDS) -> None:
        self.parameters: dict[str, str] = {}
        self.backend = 0
        self._target = target
        self._buffer = bytearray()
        self._end = time.monotonic() + seconds
        self._silent_seconds = silent_seconds
        self._plain_already = False  # the server offered no TLS and `prefer` went on without
        first: PostgresError | None = None
        for secure in attempts(target):
            try:
                self._connect(connect)
            except OSError as problem:
                raise first or _lost(problem, target) from None
            try:
                self._open(secure)
                return
            except PostgresError as problem:
                self._socket.close()
                # libpq tries the other way when TLS fails or the server says no before the session stands.
                if problem.kind != "tls" and (not problem.state or problem.kind in _SAME_WITHOUT_TLS):
                    raise problem if first is None else _clearer(first, problem) from None
                first = problem if first is None else _clearer(first, problem)
            except BaseException:
                self._socket.close()
                raise
            if self._plain_already and secure:
                break
        raise first or PostgresError("protocol", "no way of connecting was tried")

    def __enter__(self) -> Postgres:
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            self._wait()
            self._socket.sendall(b"X\x00\x00\x00\x04")
        except OSError:
            pass
        self._socket.close()

    def rows(self, sql: str) -> list[list[str | None]]:
        """Rows of one statement, all values as text; PostgresError(query) when the server refuses it."""
        if not sql.startswith("SELECT "):
            raise ValueError("only SELECT is allowed here")
        self._send(b"Q", sql.encode() + b"\x00")
        rows: list[list[str | None]] = []
        failure: PostgresError | None = None
        while True:
            kind, body = self._receive()
            if kind == b"D" and len(rows) < MAX_ROWS:
                rows.append(self._columns(body))
            elif kind == b"E":
                failure = _failure(body, "query")
            elif kind == b"Z":
                if failure is not None:
                    raise failure
                return rows

    # -- the start of a session -------------------------------------------------------------------------------

    def _connect(self, connect: Connector) -> None:
        target = self._target
        self._buffer.clear()
        self.parameters.clear()
        self._plain_already = False
        path = "%s/.s.PGSQL.%d" % (target.host.rstrip("/"), target.port)
        self._socket = connect(path if target.host.startswith("/") else (target.host, target.port))

    def _open(self, secure: bool) -> None:
        if secure:
            self._start_tls()
        self._start()

    def _start_tls(self) -> None:
        target = self._target
        self._raw(struct.pack("!ii", 8, 80877103))
        try:
            self._wait()
            answer = self._socket.recv(1)
            if answer == b"S":
                context = tls_context(target)
                self._wait()
                self._socket = context.wrap_socket(self._socket, server_hostname=target.host)
                return
        except OSError as problem:
            raise _lost(problem, target) from None
        if answer == b"E":  # a server that is full says so at once
            self._buffer += answer
            raise _failure(self._receive()[1], "protocol")
        if answer not in (b"N", b""):
            raise self._foreign()
        if not answer:
            raise PostgresError("refused", "the server at %s closed the connection" % target.label)
        if target.sslmode != "prefer":
            raise PostgresError("tls", "DB_SSLMODE is %s, but the server at %s offers no TLS" % (target.sslmode, target.label))
        self._plain_already = True

    def _start(self) -> None:
        pairs = (("user", self._target.user), ("database", self._target.database), ("client_encoding", "UTF8"),
                 ("application_name", "fediops.mastodon"), ("options", self._target.options))
        words = [word.encode("utf-8", "surrogateescape").replace(b"\x00", b"") + b"\x00" for pair in pairs if pair[1] for word in pair]
        body = struct.pack("!i", 196608) + b"".join(words) + b"\x00"
        self._raw(struct.pack("!i", len(body) + 4) + body)
        login = Login(self._target)
        while True:
            kind, body = self._receive()
            if kind == b"E":
                raise _failure(body, "protocol")
            if kind == b"S":
                name, _zero, value = body.rstrip(b"\x00").partition(b"\x00")
                self.parameters[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
            elif kind == b"K" and len(body) >= 4:
                self.backend = struct.unpack("!i", body[:4])[0]
            elif kind == b"Z":
                return
            elif kind == b"R":
                if len(body) < 4:
                    raise self._foreign()
                answer = login.answer(struct.unpack("!i", body[:4])[0], body[4:])
                if answer is not None:
                    self._send(b"p", answer)

    # -- messages ---------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Bound the next wait by what is left of the session: a server that drips bytes must not hold us."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise socket.timeout()
        self._socket.settimeout(min(left, self._silent_seconds))

    def _raw(self, data: bytes) -> None:
        try:
            self._wait()
            self._socket.sendall(data)
        except OSError as problem:
            raise _lost(problem, self._target) from None

    def _send(self, kind: bytes, body: bytes) -> None:
        self._raw(kind + struct.pack("!i", len(body) + 4) + body)

    def _receive(self) -> tuple[bytes, bytes]:
        self._fill(5)
        kind, length = bytes(self._buffer[:1]), struct.unpack("!i", self._buffer[1:5])[0]
        if not 4 <= length <= MAX_MESSAGE_BYTES:
            raise self._foreign()
        self._fill(length + 1)
        body = bytes(self._buffer[5:length + 1])
        del self._buffer[:length + 1]
        return kind, body

    def _fill(self, length: int) -> None:
        while len(self._buffer) < length:
            try:
                self._wait()
                part = self._socket.recv(65536)
            except OSError as problem:
                raise _lost(problem, self._target) from None
            if not part:
                raise PostgresError("refused", "the server at %s closed the connection" % self._target.label)
            self._buffer += part

    def _columns(self, body: bytes) -> list[str | None]:
        values: list[str | None] = []
        position = 2
        try:
            for _column in range(struct.unpack("!h", body[:2])[0]):
                length = struct.unpack("!i", body[position:position + 4])[0]
                position += 4
                values.append(None if length < 0 else body[position:position + length].decode("utf-8", "replace"))
                position += max(0, length)
        except struct.error:
            raise self._foreign() from None
        return values

    def _foreign(self) -> PostgresError:
        return PostgresError("protocol", "what answers at %s does not speak the PostgreSQL protocol" % self._target.label)


def _clearer(first: PostgresError, second: PostgresError) -> PostgresError:
    """Of a failure with and one without TLS, that which says more: no entry in pg_hba.conf for one of both ways says nothing."""
    return second if first.kind == "tls" or first.state == "28000" else first


def _failure(body: bytes, otherwise: str) -> PostgresError:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\x00") if part}
    state, message = fields.get(b"C", ""), fields.get(b"M", "")
    kind = _STATES.get(state, otherwise)
    if state not in _STATES and (state == "08P01" or not state):
        kind = next((kind for words, kind in _POOLER_WORDS if words in message), otherwise)
    return PostgresError(kind, "%s: %s" % (fields.get(b"S", "ERROR"), message[:300]), state or "?")


def _lost(problem: OSError, target: Target) -> PostgresError:
    kind = error_kind(problem)
    words = "no answer" if kind == "timeout" else problem.strerror or type(problem).__name__
    if kind == "tls":
        words = "TLS failed: %s" % (getattr(problem, "verify_message", "") or getattr(problem, "reason", "") or type(problem).__name__)
    return PostgresError("refused" if kind == "reset" else kind, "%s: %s" % (target.label, words))
