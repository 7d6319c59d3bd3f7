# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a PostgreSQL is and how libpq, which the app uses, would go there (private, may change any time).

The order of encrypted and plain attempts, the certificates and the password file are those of libpq.
Source: https://www.postgresql.org/docs/current/libpq-ssl.html and libpq-pgpass.html beside it.
"""

from __future__ import annotations

import os
import ssl

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# Where Debian's and the PGDG's libpq look for the socket; upstream's own default is /tmp.
SOCKET_DIRECTORY = "/var/run/postgresql"


class PostgresError(Exception):
    """Kind (refused no_socket timeout dns auth tls unsupported no_database too_many starting protocol query …) and what was said.

    `state` is the SQLSTATE when the server itself said it, else empty.
    """

    def __init__(self, kind: str, message: str, state: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.state = state


class Certificates(NamedTuple):
    """Paths of root, client certificate and key; `root` may be "system". `named` are those that the settings name themselves."""

    root: str = ""
    cert: str = ""
    key: str = ""
    passphrase: str = ""
    named: tuple[str, ...] = ()


class Target(NamedTuple):
    """Where the database is and as whom to log in. host beginning with / is the directory of a Unix socket."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str = "prefer"
    certificates: Certificates = Certificates()
    channel_binding: str = "prefer"
    options: str = ""

    @property
    def label(self) -> str:
        return ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port)


def attempts(target: Target) -> tuple[bool, ...]:
    """The order in which libpq tries: True is with TLS. A Unix socket is always plain."""
    if target.sslmode not in SSL_MODES:
        raise PostgresError("configuration", "sslmode is none of %s" % " ".join(SSL_MODES))
    if target.host.startswith("/") or target.sslmode == "disable":
        return (False,)
    return {"allow": (False, True), "prefer": (True, False)}.get(target.sslmode, (True,))


def tls_context(target: Target) -> ssl.SSLContext:
    """TLS as libpq sets it up: a root certificate that exists is always used, and demanded by verify-ca and verify-full."""
    files, mode = target.certificates, target.sslmode
    # Not create_default_context(): it is stricter than libpq (X.509 strict since Python 3.13) and trusts the system's authorities.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files.root == "system":
        context.set_default_verify_paths()
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
    elif files.root and os.path.exists(files.root):
        _load(context.load_verify_locations, "the root certificates %s" % files.root, files.root)
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = mode == "verify-full"
    elif mode.startswith("verify-"):
        raise PostgresError("tls", "DB_SSLMODE is %s, but the file of root certificates %s does not exist" % (mode, files.root or "(none)"))
    if files.cert and (files.cert in files.named or os.path.exists(files.cert)):
        if _is_open(files.key):
            raise PostgresError("tls", "the key %s may be read by others than its owner: libpq refuses it (chmod 0600)" % files.key)
        # Without the function OpenSSL would ask for the passphrase of the key on the terminal.
        what = "the client certificate %s with its key" % files.cert
        _load(context.load_cert_chain, what, files.cert, files.key, lambda: files.passphrase)
    return context


def _is_open(key: str) -> bool:
    try:
        status = os.stat(key)
    except OSError:
        return False
    return bool(status.st_mode & (0o037 if status.st_uid == 0 else 0o077))


def _load(load: Callable[..., Any], what: str, *arguments: Any) -> None:
    try:
        load(*arguments)
    except ssl.SSLError as problem:
        raise PostgresError("tls", "%s cannot be used: %s" % (what, problem.reason or "bad format")) from None
    except (OSError, ValueError) as problem:
        words = problem.strerror if isinstance(problem, OSError) else ""
        raise PostgresError("tls", "%s cannot be read: %s" % (what, words or "bad format")) from None


def password_of(text: str, target: Target) -> str:
    """The password that a password file (~/.pgpass) holds for the target: the first line that fits, empty when none does."""
    host = "localhost" if target.host == SOCKET_DIRECTORY else target.host
    wanted = (host, str(target.port), target.database, target.user)
    for line in text.splitlines():
        fields = _fields(line)
        if line.startswith("#") or len(fields) < 5:
            continue
        if all(field in ("*", value) for field, value in zip(fields, wanted)):
            return fields[4]
    return ""


def _fields(line: str) -> list[str]:
    """The five fields between colons; a backslash takes the colon or backslash behind it as it is."""
    fields, at = [""], 0
    while at < len(line):
        character = line[at]
        if character == "\\" and at + 1 < len(line):
            at += 1
            fields[-1] += line[at]
        elif character == ":" and len(fields) < 5:
            fields.append("")
        elif character == ":":
            break
        else:
            fields[-1] += character
        at += 1
    return fields
