# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of an app to a Mastodon server: over TLS only, bounded in time and size, no redirect followed (private, may change any time)."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import ssl
import uuid

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ANSWER_BYTES = 1 << 20
TEXT_LIMIT = 200
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\Z")
_REQUEST_ID = re.compile(r"[\w@-]{1,255}\Z", re.ASCII)


class Unfit(Exception):
    """One sentence: why nothing can be said about the server; what is to be done about it."""


class NoAnswer(Exception):
    """`kind`: refused timeout dns tls denied unreachable reset protocol; `sent`: the server may have got the request all the same."""

    def __init__(self, kind: str, message: str, sent: bool, request_id: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent
        self.request_id = request_id


class Answer(NamedTuple):
    status: int
    content_type: str
    location: str
    body: bytes
    request_id: str  # of the answer, else the one that was sent along
    reached: bool  # the answer has an X-Request-Id: it was made by the application

    def json(self) -> Any:
        """The value of a JSON body; None when it is none."""
        try:
            return json.loads(self.body) if "json" in self.content_type else None
        except (ValueError, RecursionError):
            return None


class _Late(Exception):
    pass


class Server(NamedTuple):
    """Where a Mastodon is reached: `name` for its certificate and its Host header, `address` to connect to."""

    name: str
    port: int
    address: str

    @property
    def url(self) -> str:
        return "https://" + self.name + (":%d" % self.port if self.port != 443 else "")


def server_of(url: str, address: str = "") -> Server:
    """The server of an https address without a path; Unfit otherwise. `address`: a name or IP to connect to in place of the name."""
    try:
        parts = urlsplit(url.strip())
        name, port = (parts.hostname or "").encode("idna").decode(), parts.port or 443
    except ValueError:
        parts, name, port = urlsplit(""), "", 0
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment and not parts.username and not parts.password
    if parts.scheme != "https" or not _HOST.match(name) or not plain:
        raise Unfit("url is https:// and the name under which people use the server, such as https://mastodon.example, not %r" % url[:80])
    return Server(name, port, address or name)


def tls_context(ca_path: str, validate_certs: bool) -> ssl.SSLContext:
    """Unfit when the file with the certificates of authorities cannot be used."""
    try:
        context = ssl.create_default_context(cafile=ca_path or None)
    except (OSError, ValueError) as problem:  # SSLError is an OSError
        raise Unfit("ca_path %s cannot be used: %s" % (ca_path[:200], getattr(problem, "strerror", None) or problem)) from None
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """`before` is called ahead of each request and may raise; `seconds` bounds each request from the name to the last byte."""

    def __init__(self, server: Server, context: ssl.SSLContext, token: str, seconds: float) -> None:
        self.server = server
        self.seconds = seconds
        self.before: Callable[[], None] = lambda: None
        self._context = context
        self._token = token
        self._redactor = Redactor([token])

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, token: bool = True) -> Answer:
        """The answer, whatever its status; NoAnswer when there is none. The token goes to the server that was named and to no other."""
        self.before()
        request_id = str(uuid.uuid4())
        # An id of our own: Rails takes it over, so that a request without an answer can be found in the logs too.
        lines = {"Host": self.server.url[8:], "User-Agent": "fediops.mastodon", "Accept": "application/json", "X-Request-Id": request_id,
                 "Accept-Encoding": "identity", "Connection": "close"}
        lines.update(headers or {})
        if token:
            lines["Authorization"] = "Bearer " + self._token
        link = _Link(self.server, self._context, self.seconds)
        try:
            return _within(self.seconds, lambda: _exchange(link, method, path, body, lines, request_id))
        except _Late:
            raise NoAnswer("timeout", "no answer within %.0f s" % self.seconds, link.up, request_id) from None
        except ssl.SSLCertVerificationError as problem:
            raise NoAnswer("tls", "the certificate is not valid: %s" % self.clean(problem.verify_message), False, request_id) from None
        except (http.client.HTTPException, ValueError) as problem:
            if isinstance(problem, OSError):  # RemoteDisconnected is both
                raise NoAnswer("reset", "the connection was closed without an answer", link.up, request_id) from None
            raise NoAnswer("protocol", "no HTTP answer that could be read (%s)" % type(problem).__name__, link.up, request_id) from None
        except OSError as problem:
            message = getattr(problem, "reason", None) or problem.strerror or str(problem) or type(problem).__name__
            raise NoAnswer(error_kind(problem), self.clean(message), link.up, request_id) from None
        finally:
            link.close()

    def clean(self, text: object) -> str:
        """What a stranger said, as one harmless line without the token."""
        return self._redactor.clean(str(text), TEXT_LIMIT)


class _Link(http.client.HTTPSConnection):
    """`up`: the connection stands, so that the server may have got what was sent."""

    def __init__(self, server: Server, context: ssl.SSLContext, seconds: float) -> None:
        super().__init__(server.name, server.port, timeout=seconds, context=context)
        self.up = False
        self._server = server
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((self._server.address, self._server.port), self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._server.name)
        except BaseException:
            plain.close()
            raise
        self.up = True


def _exchange(link: _Link, method: str, path: str, body: bytes, lines: dict[str, str], request_id: str) -> Answer:
    link.connect()
    link.request(method, path, body if body or method == "POST" else None, lines)
    answer = link.getresponse()
    data = answer.read(MAX_ANSWER_BYTES + 1)
    if len(data) > MAX_ANSWER_BYTES:
        raise http.client.HTTPException("too long")
    told = answer.getheader("X-Request-Id") or ""
    reached = bool(_REQUEST_ID.match(told))
    return Answer(answer.status, (answer.getheader("Content-Type") or "").lower()[:100], (answer.getheader("Location") or "")[:300],
                  data, told if reached else request_id, reached)


def _within(seconds: float, work: Callable[[], Answer]) -> Answer:
    """The timeout of a socket is per read: a server that drips bytes must not hold us longer than agreed. Main thread only."""
    def ring(_number: int, _frame: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
