# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask PostgreSQL, or PgBouncer before it, over the protocol version 3 (private, may change any time).

Enough of the protocol to be the client that the app is: Unix socket or TCP, TLS when the server has it, peer, trust, clear-text, MD5 and
SCRAM-SHA-256 authentication, the simple query. Only SELECT is ever sent, and never SET: behind a transaction pooler it would stay on a
server connection that the app uses next. No driver is needed on the host.
Source: https://www.postgresql.org/docs/current/protocol.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind

MAX_MESSAGE_BYTES = 4 << 20
MAX_ROWS = 20000

if TYPE_CHECKING:
    from collections.abc import Callable
    Connector = Callable[[Any], socket.socket]


class PostgresError(Exception):
    """Kind (refused no_socket timeout dns auth no_database too_many starting protocol query) and what the server or system said."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Target(NamedTuple):
    """Where the database is and as whom to log in. host beginning with / is the directory of a Unix socket."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str

    @property
    def label(self) -> str:
        return "%s:%d" % (self.host, self.port)


# SQLSTATE, not the text, decides: the text comes in the server's language. PgBouncer uses 08P01 for nearly all, so its words count too.
_STATES = {"28P01": "auth", "28000": "auth", "3D000": "no_database", "53300": "too_many", "57P03": "starting", "57P01": "starting",
           "57P02": "starting"}
_POOLER_WORDS = (("no more connections allowed", "too_many"), ("max_client_conn", "too_many"), ("query_wait_timeout", "too_many"),
                 ("password authentication failed", "auth"), ("SASL authentication failed", "auth"), ("no such user", "auth"),
                 ("no such database", "no_database"), ("does not exist", "no_database"), ("server_login_retry", "refused"),
                 ("pgbouncer cannot connect to server", "refused"), ("the database system is", "starting"))


class Postgres:
    """One session. Use as a context manager. `parameters` holds what the server reported at the start (server_version, encodings …)."""

    def __init__(self, connect: Connector, target: Target) -> None:
        self.parameters: dict[str, str] = {}
        self._target = target
        self._buffer = bytearray()
        path = "%s/.s.PGSQL.%d" % (target.host.rstrip("/"), target.port)
        try:
            self._socket = connect(path if target.host.startswith("/") else (target.host, target.port))
        except OSError as problem:
            raise _lost(problem, target) from None
        try:
            self._start_tls()
            self._start()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Postgres:
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
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
                rows.append(_columns(body))
            elif kind == b"E":
                failure = _failure(body, "query")
            elif kind == b"Z":
                if failure is not None:
                    raise failure
                return rows

    def value(self, sql: str) -> str:
        """The first column of the first row, empty when there is none."""
        rows = self.rows(sql)
        return (rows[0][0] or "") if rows and rows[0] else ""

    # -- the start of a session -------------------------------------------------------------------------------

    def _start_tls(self) -> None:
        mode = self._target.sslmode
        if self._target.host.startswith("/") or mode in ("disable", "allow"):
            return
        try:
            self._socket.sendall(struct.pack("!ii", 8, 80877103))
            answer = self._socket.recv(1)
            if answer == b"S":
                context = ssl.create_default_context()
                if mode not in ("verify-ca", "verify-full"):
                    context.check_hostname = False
                    context.verify_mode = ssl.CERT_NONE
                elif mode == "verify-ca":
                    context.check_hostname = False
                self._socket = context.wrap_socket(self._socket, server_hostname=self._target.host)
            elif mode in ("require", "verify-ca", "verify-full"):
                raise PostgresError("protocol", "DB_SSLMODE=%s, but the server at %s offers no TLS" % (mode, self._target.label))
        except OSError as problem:
            raise _lost(problem, self._target) from None

    def _start(self) -> None:
        pairs = (("user", self._target.user), ("database", self._target.database), ("client_encoding", "UTF8"),
                 ("application_name", "fediops.mastodon"))
        body = struct.pack("!i", 196608) + b"".join(k.encode() + b"\x00" + v.encode() + b"\x00" for k, v in pairs) + b"\x00"
        self._raw(struct.pack("!i", len(body) + 4) + body)
        scram: _Scram | None = None
        while True:
            kind, body = self._receive()
            if kind == b"E":
                raise _failure(body, "protocol")
            if kind == b"S":
                name, value = body.split(b"\x00")[:2]
                self.parameters[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
            elif kind == b"Z":
                return
            elif kind == b"R":
                scram = self._authenticate(struct.unpack("!i", body[:4])[0], body[4:], scram)

    def _authenticate(self, method: int, body: bytes, scram: _Scram | None) -> _Scram | None:
        password = self._target.password.encode()
        if method == 0:
            return None
        if method in (3, 5, 10) and not password:
            raise PostgresError("auth", "the server at %s asks user %s for a password and DB_PASS is empty"
                                % (self._target.label, self._target.user))
        if method == 3:
            self._send(b"p", password + b"\x00")
        elif method == 5:
            inner = hashlib.md5(password + self._target.user.encode()).hexdigest().encode()
            self._send(b"p", b"md5" + hashlib.md5(inner + body[:4]).hexdigest().encode() + b"\x00")
        elif method == 10:
            scram = _Scram(password)
            first = scram.first()
            self._send(b"p", b"SCRAM-SHA-256\x00" + struct.pack("!i", len(first)) + first)
        elif method == 11 and scram is not None:
            self._send(b"p", scram.final(body))
        elif method != 12:
            raise PostgresError("auth", "the server at %s asks for an authentication method (%d) that this check does not speak"
                                % (self._target.label, method))
        return scram

    # -- messages ---------------------------------------------------------------------------------------------

    def _raw(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as problem:
            raise _lost(problem, self._target) from None

    def _send(self, kind: bytes, body: bytes) -> None:
        self._raw(kind + struct.pack("!i", len(body) + 4) + body)

    def _receive(self) -> tuple[bytes, bytes]:
        self._fill(5)
        kind, length = bytes(self._buffer[:1]), struct.unpack("!i", self._buffer[1:5])[0]
        if not 4 <= length <= MAX_MESSAGE_BYTES:
            raise PostgresError("protocol", "what answers at %s does not speak the PostgreSQL protocol" % self._target.label)
        self._fill(length + 1)
        body = bytes(self._buffer[5:length + 1])
        del self._buffer[:length + 1]
        return kind, body

    def _fill(self, length: int) -> None:
        while len(self._buffer) < length:
            try:
                part = self._socket.recv(65536)
            except OSError as problem:
                raise _lost(problem, self._target) from None
            if not part:
                raise PostgresError("refused", "the server at %s closed the connection" % self._target.label)
            self._buffer += part


class _Scram:
    """SCRAM-SHA-256 without channel binding, RFC 5802 and 7677."""

    def __init__(self, password: bytes) -> None:
        self._password = password
        self._nonce = base64.b64encode(os.urandom(18)).decode()

    def first(self) -> bytes:
        return ("n,,n=,r=" + self._nonce).encode()

    def final(self, challenge: bytes) -> bytes:
        fields = dict(part.split("=", 1) for part in challenge.decode("ascii", "replace").split(",") if "=" in part)
        try:
            nonce, salt, rounds = fields["r"], base64.b64decode(fields["s"]), int(fields["i"])
        except (KeyError, ValueError):
            raise PostgresError("protocol", "the server sent a broken SCRAM challenge") from None
        # The server sets the cost; a hostile one must not burn our time.
        if not nonce.startswith(self._nonce) or not 1 <= rounds <= 200000:
            raise PostgresError("protocol", "the server sent a broken SCRAM challenge")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, rounds)
        key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
        message = "n=,r=%s,%s,c=biws,r=%s" % (self._nonce, challenge.decode("ascii", "replace"), nonce)
        signature = hmac.new(hashlib.sha256(key).digest(), message.encode(), hashlib.sha256).digest()
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        return ("c=biws,r=%s,p=%s" % (nonce, proof)).encode()


def _columns(body: bytes) -> list[str | None]:
    values: list[str | None] = []
    position = 2
    for _column in range(struct.unpack("!h", body[:2])[0]):
        length = struct.unpack("!i", body[position:position + 4])[0]
        position += 4
        if length < 0:
            values.append(None)
        else:
            values.append(body[position:position + length].decode("utf-8", "replace"))
            position += length
    return values


def _failure(body: bytes, otherwise: str) -> PostgresError:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\x00") if part}
    state, message = fields.get(b"C", ""), fields.get(b"M", "")
    kind = _STATES.get(state, otherwise)
    if state not in _STATES:
        kind = next((kind for words, kind in _POOLER_WORDS if words in message), otherwise)
    return PostgresError(kind, "%s: %s" % (fields.get(b"S", "ERROR"), message[:300]))


def _lost(problem: OSError, target: Target) -> PostgresError:
    kind = error_kind(problem)
    words = "no answer" if kind == "timeout" else problem.strerror or type(problem).__name__
    return PostgresError("refused" if kind == "reset" else kind, "%s: %s" % (target.label, words))
