# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset search: does the search server answer, asked as the app would ask it, who is it, and how does its cluster do.

Source: mastodon/mastodon, config/initializers/chewy.rb (an HTTP proxy of the environment is not used) and
app/lib/admin/system_check/elasticsearch_check.rb; elasticsearch-transport, Client#__parse_host.
"""

from __future__ import annotations

import base64
import json
import re
import time

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._network import STATUS, error_kind, get
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import effective_settings
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.messages import demand_known
from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import apart

SECONDS = 6.0
NOT_TOLD = "what answers at ES_HOST could not be told: %s"
# Chewy 7 of Mastodon 3.5 and newer makes indexes without mapping types, which older servers want.
MINIMUM_MAJOR = 7
_HEALTH = ("green", "yellow", "red")
_NAME = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z._-]{0,252})|[0-9A-Fa-f:]{2,45}")
_WORD = re.compile(r"[0-9A-Za-z.+_-]{1,40}")
# What a proxy in front of it answers to who does not speak TLS.
_WANTS_TLS = re.compile(rb"HTTP/\d\.\d (?:400 .*HTTPS port|30[1278] .*\r\nLocation: https://)", re.DOTALL | re.IGNORECASE)


class Place(NamedTuple):
    """Where ES_HOST and ES_PORT lead. ``authority``: a file, for ES_CA_FILE; ``login``: user:password, or empty."""

    name: str
    port: int
    tls: bool
    login: str
    authority: str

    @property
    def address(self) -> str:
        return ("[%s]:%d" if ":" in self.name else "%s:%d") % (self.name, self.port)


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset. Not being reachable is a result (`error`), not a failure of the probe."""
    settings = effective_settings(install)
    if settings.get("ES_ENABLED") != "true":
        return {"enabled": False}
    demand_known(install, "ES_")
    number = tuple(install.get("version", {}).get("number", (99,)))
    try:
        place = place_of(settings, install["root"])
    except ValueError:
        return {"enabled": True, "_partly": NOT_TOLD % "this release does not understand where ES_HOST, ES_PORT and ES_USER lead"}
    facts: dict[str, Any] = {"enabled": True, "address": place.address, "tls": place.tls}
    told, why = apart(host, SECONDS, lambda seconds: asked(host, place, number, seconds))
    return {**facts, "_partly": NOT_TOLD % why} if why else {**facts, **told}


def place_of(settings: dict[str, str], root: str) -> Place:
    """As the app's client reads them; ValueError for several servers, a path, and whatever else is no plain address."""
    host, port = (settings.get(key, usual) for key, usual in (("ES_HOST", "localhost"), ("ES_PORT", "9200")))
    values = (settings.get(key, "") for key in ("ES_USER", "ES_PASS", "ES_CA_FILE"))
    user, password, authority = (value if value.strip() else "" for value in values)
    tls = False
    if "://" in host:
        parts = urlsplit("%s:%s" % (host, port)) if host.isascii() else urlsplit("")
        name, number, tls = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 9200), parts.scheme == "https"
        if parts.scheme not in ("http", "https") or parts.path or parts.query or parts.fragment:
            raise ValueError("ES_HOST")
        if parts.username:
            user, password = parts.username, parts.password or ""  # as they stand there
    else:
        name, _colon, rest = ("%s:%s" % (host, port)).partition(":")
        number = int(rest.partition(":")[0] or 9200)  # localhost:9200 in ES_HOST wins over ES_PORT
    if _NAME.fullmatch(name) is None or not 0 < number < 65536 or user and not password:
        raise ValueError("ES_HOST")
    if authority and not authority.startswith("/"):
        authority = "%s/%s" % (root, authority)
    return Place(name, number, tls, user and "%s:%s" % (user, password), authority)


def asked(host: Host, place: Place, number: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """`status`, `version`, `distribution`, `version_supported` and `health`, or `error`, of a server."""
    deadline = time.monotonic() + seconds
    facts, body = _got(host, place, "/", deadline)
    version = body.get("version") if facts.get("status") == 200 else None
    said = _word(version.get("number")) if isinstance(version, dict) else ""
    if not isinstance(version, dict) or not said:
        return facts
    facts["version"] = said
    major = re.match(r"(\d{1,4})\.", said)
    if "distribution" in version:
        facts["distribution"] = _word(version["distribution"]) or "unknown"
    elif major and number >= (3, 5):
        facts["version_supported"] = int(major.group(1)) >= MINIMUM_MAJOR
    health = _got(host, place, "/_cluster/health", deadline)[1].get("status")
    if health in _HEALTH:
        facts["health"] = health
    return facts


def _got(host: Host, place: Place, path: str, deadline: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """({status} or {error}, the object that was answered)."""
    headers = {"Host": place.address, "Accept": "application/json"}
    if place.login:
        headers["Authorization"] = "Basic " + base64.b64encode(place.login.encode("utf-8", "surrogateescape")).decode("ascii")
    try:
        link = host.connect((place.name, place.port), max(0.1, (deadline - time.monotonic()) / 2))  # a name has an address of each kind
        if place.tls:
            import ssl
            link.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                # Nobody but the server that is meant gets the password.
                link = ssl.create_default_context(cafile=place.authority or None).wrap_socket(link, server_hostname=place.name)
            except OSError as problem:
                link.close()
                if isinstance(problem, ssl.SSLCertVerificationError):
                    return _failed("certificate", problem.verify_message), {}
                if place.authority and not host.exists(place.authority):
                    return _failed("certificate", "there is no such ES_CA_FILE"), {}
                raise
        answer = get(link, path, headers, deadline)
    except OSError as problem:
        return _failed(error_kind(problem), problem.strerror), {}
    except ValueError:  # an empty or overlong part of a name
        return _failed("dns", "no name of a host"), {}
    status = STATUS.match(answer)
    if status is None:
        return _failed("protocol" if answer else "reset", "no HTTP answer"), {}
    if not place.tls and _WANTS_TLS.match(answer):
        return _failed("tls", "it wants https:// in ES_HOST"), {}
    return {"status": int(status.group(1))}, _object(answer)


def _word(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def _failed(kind: str, message: str | None) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": (message or "no answer in time")[:200]}}


def _object(answer: bytes) -> dict[str, Any]:
    """JSON in the body of an answer, which may come in one chunk."""
    body = answer.partition(b"\r\n\r\n")[2]
    try:
        found = json.JSONDecoder().raw_decode(body[max(0, body.find(b"{")):].decode("utf-8", "replace"))[0]
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
