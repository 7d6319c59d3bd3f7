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
import time

from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind, get
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import effective_settings
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.messages import demand_known
from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import side_by_side

SECONDS = 6.0
NOT_TOLD = "what answers at ES_HOST could not be told: %s"
# Chewy 7 of Mastodon 3.5 and newer makes indexes without mapping types, which older servers want.
MINIMUM_MAJOR = 7
_HEALTH = ("green", "yellow", "red")


class Place(NamedTuple):
    """Where ES_HOST and ES_PORT lead. ``authority``: a file, for ES_CA_FILE; ``login``: user:password, or empty."""

    name: str
    port: int
    tls: bool
    login: str
    authority: str


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset. Not being reachable is a result (`error`), not a failure of the probe."""
    settings = effective_settings(install)
    if settings.get("ES_ENABLED") != "true":
        return {"enabled": False}
    demand_known(install, "ES_")
    number = tuple(install.get("version", {}).get("number", (99,)))
    try:
        place = place_of(settings)
    except ValueError:
        return {"enabled": True, "error": {"kind": "configuration", "message": "ES_HOST and ES_PORT are no address of a server"}}
    facts: dict[str, Any] = {"enabled": True, "address": "%s:%d" % (place.name[:253], place.port), "tls": place.tls}
    seconds = host.left(SECONDS + 1.0) - 1.0
    if seconds < 1.0:
        return {**facts, "_partly": NOT_TOLD % "there was no time left"}
    # A process of its own: the C library waits for a dead name server as long as it likes.
    ask = {"search": lambda _host: asked(host, place, number, seconds - 0.3)}
    outcome = side_by_side(ask, {"search": time.monotonic() + seconds})["search"]
    return {**facts, **outcome.facts} if outcome.state == "ok" else {**facts, "_partly": NOT_TOLD % outcome.reason}


def place_of(settings: dict[str, str]) -> Place:
    """As the app's client reads them; ValueError when it could not."""
    host, port = (settings.get(key, usual) for key, usual in (("ES_HOST", "localhost"), ("ES_PORT", "9200")))
    login = settings.get("ES_USER", "").strip() and "%s:%s" % (settings["ES_USER"], settings.get("ES_PASS", ""))
    if "://" in host:
        parts = urlsplit("%s:%s" % (host, port))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(host)
        if parts.username:
            login = "%s:%s" % (unquote(parts.username), unquote(parts.password or ""))
        return Place(parts.hostname, parts.port or 9200, parts.scheme == "https", login, settings.get("ES_CA_FILE", ""))
    name, _colon, rest = ("%s:%s" % (host, port)).partition(":")
    number = int(rest.partition(":")[0] or 9200)  # localhost:9200 in ES_HOST wins over ES_PORT
    if not name or not 0 < number < 65536:
        raise ValueError(host)
    return Place(name, number, False, login, "")


def asked(host: Host, place: Place, number: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """`status`, `version`, `distribution`, `version_supported` and `health`, or `error`, of a server."""
    deadline = time.monotonic() + seconds
    facts, body = _got(host, place, "/", deadline)
    version = _json(body).get("version") if facts.get("status") == 200 else None
    if isinstance(version, dict) and isinstance(version.get("number"), str):
        facts["version"] = version["number"][:40]
        major = version["number"].partition(".")[0]
        if isinstance(version.get("distribution"), str):
            facts["distribution"] = version["distribution"][:40]
        elif major.isdigit() and number >= (3, 5):
            facts["version_supported"] = int(major) >= MINIMUM_MAJOR
        health = _json(_got(host, place, "/_cluster/health", deadline)[1]).get("status")
        if health in _HEALTH:
            facts["health"] = health
    return facts


def _got(host: Host, place: Place, path: str, deadline: float) -> tuple[dict[str, Any], bytes]:
    headers = {"Host": "%s:%d" % (place.name, place.port), "User-Agent": "fediops.mastodon", "Accept": "application/json"}
    if place.login:
        headers["Authorization"] = "Basic " + base64.b64encode(place.login.encode()).decode("ascii")
    try:
        link = host.connect((place.name, place.port), max(0.1, (deadline - time.monotonic()) / 2))  # a name has an address of each kind
    except OSError as problem:
        return _failed(error_kind(problem), problem.strerror), b""
    except ValueError:  # an empty or overlong part of a name
        return _failed("dns", "no name of a host"), b""
    if place.tls:
        import ssl
        try:
            # Nobody but the server that is meant gets the password.
            link = ssl.create_default_context(cafile=place.authority or None).wrap_socket(link, server_hostname=place.name)
        except ssl.SSLCertVerificationError as problem:
            link.close()
            return _failed("certificate", problem.verify_message), b""
        except OSError as problem:
            link.close()
            missing = place.authority and not host.exists(place.authority)
            return _failed("certificate", "there is no such ES_CA_FILE") if missing else _failed(error_kind(problem), problem.strerror), b""
    try:
        # In HTTP 1.0 no answer comes in chunks.
        return get(link, path, headers, deadline, "1.0")
    except OSError as problem:
        return _failed(error_kind(problem), problem.strerror), b""


def _failed(kind: str, message: str | None) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": (message or "no answer in time")[:200]}}


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
