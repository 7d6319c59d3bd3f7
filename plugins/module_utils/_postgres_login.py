# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say to PostgreSQL who we are: clear-text, MD5 and SCRAM-SHA-256 (private, may change any time).

What this client does not speak is `unsupported`, never `auth`: the app's libpq may speak it.
Sources: https://www.postgresql.org/docs/current/sasl-authentication.html, RFC 5802 and 7677.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
import unicodedata

from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError, Target

MAX_ROUNDS = 200000  # the server sets the cost; a hostile one must not burn our time

_NAMES = {2: "Kerberos V5", 6: "SCM credentials", 7: "GSSAPI", 8: "GSSAPI", 9: "SSPI"}


class Login:
    """The answers to the authentication requests of one connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._scram: _Scram | None = None

    def answer(self, method: int, body: bytes) -> bytes | None:
        """What to send for the request, None for nothing; PostgresError auth or unsupported."""
        if method in (0, 12):
            return None
        if method in (3, 5, 10) and not self._target.password:
            raise PostgresError("auth", "the server at %s asks user %s for a password and DB_PASS is empty"
                                % (self._target.label, self._target.user))
        password = self._target.password.encode("utf-8", "surrogateescape")
        if method == 3:
            return password + b"\x00"
        if method == 5:
            return self._md5(password, body[:4])
        if method == 10:
            offered = [each.decode("ascii", "replace") for each in body.split(b"\x00") if each]
            if "SCRAM-SHA-256" not in offered or self._target.channel_binding == "require":
                raise self._unsupported("SASL with " + (", ".join(offered) or "nothing"))
            self._scram = _Scram(_prepared(password))
            first = self._scram.first()
            return b"SCRAM-SHA-256\x00" + struct.pack("!i", len(first)) + first
        if method == 11 and self._scram is not None:
            return self._scram.final(body)
        raise self._unsupported(_NAMES.get(method, "method %d" % method))

    def _md5(self, password: bytes, salt: bytes) -> bytes:
        try:
            inner = hashlib.md5(password + self._target.user.encode("utf-8", "surrogateescape")).hexdigest()  # noqa: S324  the protocol's
            return b"md5" + hashlib.md5(inner.encode() + salt).hexdigest().encode() + b"\x00"  # noqa: S324
        except ValueError:  # FIPS mode
            raise self._unsupported("MD5, which this host's OpenSSL refuses,") from None

    def _unsupported(self, what: str) -> PostgresError:
        return PostgresError("unsupported", "the server at %s asks for authentication by %s, which this check does not speak"
                             % (self._target.label, what[:100]))


def _prepared(password: bytes) -> bytes:
    """SASLprep for what people use: compatible forms become one; bytes that are not UTF-8 stay, as in libpq."""
    try:
        return unicodedata.normalize("NFKC", password.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return password


class _Scram:
    """SCRAM-SHA-256 without channel binding."""

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
        if not nonce.startswith(self._nonce) or rounds < 1:
            raise PostgresError("protocol", "the server sent a broken SCRAM challenge")
        if rounds > MAX_ROUNDS:
            raise PostgresError("unsupported", "the server asks for %d rounds of SCRAM, which this check does not compute" % rounds)
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, rounds)
        key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
        message = "n=,r=%s,%s,c=biws,r=%s" % (self._nonce, challenge.decode("ascii", "replace"), nonce)
        signature = hmac.new(hashlib.sha256(key).digest(), message.encode(), hashlib.sha256).digest()
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        return ("c=biws,r=%s,p=%s" % (nonce, proof)).encode()
