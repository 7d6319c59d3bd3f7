# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset proxy: what nginx is configured to do for Mastodon: its upstreams and how long it waits. Other proxies are named only."""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

if TYPE_CHECKING:
    from collections.abc import Mapping

MAIN_FILE = "/etc/nginx/nginx.conf"
ACCESS_LOG, ERROR_LOG = "/var/log/nginx/access.log", "/var/log/nginx/error.log"
MAX_FILES = 100
DEFAULT_TIMEOUT_SECONDS = 60  # nginx's own, for proxy_read_timeout and proxy_send_timeout
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset; kind is nginx, caddy, apache2, httpd, haproxy or none."""
    unit = next((each for each in install["units"] if each["role"] == "proxy"), None)
    if unit is None:
        return {"kind": "none", "running": False}
    facts: dict[str, Any] = {"kind": unit["name"].split(".")[0].split("@")[0], "running": unit["active_state"] == "active"}
    if facts["kind"] != "nginx" or not host.exists(MAIN_FILE):
        return facts
    upstreams, servers, http = _configured(host)
    ours = [server for server in servers if _is_ours(server, install)] or [server for server in servers if server["passes"]]
    facts["read_timeout_seconds"] = _timeout(ours, http, "proxy_read_timeout")
    facts["send_timeout_seconds"] = _timeout(ours, http, "proxy_send_timeout")
    for key, streaming in (("upstream_web", False), ("upstream_streaming", True)):
        found = {address for server in ours for location, name in server["passes"] if ("streaming" in location) == streaming
                 for address in upstreams.get(name, [name])}
        facts[key] = sorted(found)[:20]
    return facts


def logs_of(host: Host, install: Mapping[str, Any]) -> dict[str, Any] | None:
    """For the subset logs: {names, upstreams, access, error} of nginx's server blocks for Mastodon; None when that cannot be told.

    access: log files into which only these blocks write; error: those that hold their errors, other blocks' lines among them.
    """
    if not host.exists(MAIN_FILE):
        return None
    upstreams, servers, http = _configured(host)
    domains = domains_of(install)
    root = str(install.get("root") or "")
    ours = [server for server in servers
            if domains & set(server["names"]) or (root and any(each.startswith(root) for each in server["roots"]))]
    proxied = [server for server in servers if server["passes"]]
    if not ours and len(proxied) == 1:
        ours = proxied
    if not ours:
        return None
    addresses = {name for server in ours for _location, name in server["passes"]}
    addresses |= {address for name in addresses for address in upstreams.get(name, ())}
    foreign = {path for server in servers if server not in ours for path in _paths(server, http, "access_log", ACCESS_LOG)}
    return {"names": domains | {name for server in ours for name in server["names"]}, "upstreams": addresses,
            "access": sorted({path for server in ours for path in _paths(server, http, "access_log", ACCESS_LOG)} - foreign),
            "error": sorted({path for server in ours for path in _paths(server, http, "error_log", ERROR_LOG)})}


def domains_of(install: Mapping[str, Any]) -> set[str]:
    """Every name under which this Mastodon answers."""
    environment = install.get("_environment") or {}
    names = [install.get("domain") or "", environment.get("WEB_DOMAIN") or "", *str(environment.get("ALTERNATE_DOMAINS") or "").split(",")]
    return {name.strip().lower() for name in names if name.strip()}


def _paths(server: dict[str, Any], http: dict[str, str], name: str, default: str) -> list[str]:
    """Log files of a server block: its own, else those of http, else those of the main context, else nginx's."""
    found = [value for key, value in server["directives"] if key == name] or http.get("*" + name, "").split() or [default]
    return [path for path in found if path.startswith("/") and not path.startswith("/dev/") and "$" not in path]


def _configured(host: Host) -> tuple[dict[str, list[str]], list[dict[str, Any]], dict[str, str]]:
    tokens: list[list[str]] = []
    _read(host, MAIN_FILE, tokens, set())
    return _blocks(tokens)


def _read(host: Host, path: str, statements: list[list[str]], seen: set[str]) -> None:
    """Statements of a file and of what it includes, in order; `{` and `}` stand as statements of their own."""
    if path in seen or len(seen) >= MAX_FILES:
        return
    seen.add(path)
    words: list[str] = []
    for token in re.findall(r"#[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{};]|[^\s{};]+", host.maybe(path, 1 << 19) or ""):
        if token.startswith("#"):
            continue
        if token not in "{};":
            words.append(token.strip("\"'"))
            continue
        if words and words[0] == "include" and len(words) == 2 and token == ";":
            pattern = words[1] if words[1].startswith("/") else "/etc/nginx/" + words[1]
            for name in host.glob(pattern):
                _read(host, name, statements, seen)
        elif words:
            statements.append(words)
        if token in "{}":
            statements.append([token])
        words = []


def _blocks(statements: list[list[str]]) -> tuple[dict[str, list[str]], list[dict[str, Any]], dict[str, str]]:
    """Upstreams by name, the server blocks, and the directives that stand in http itself."""
    upstreams: dict[str, list[str]] = {}
    servers: list[dict[str, Any]] = []
    http: dict[str, str] = {}
    stack: list[list[str]] = []
    previous: list[str] = []
    for words in statements:
        if words == ["{"]:
            stack.append(previous)
            if previous[:1] == ["server"] and len(previous) == 1:
                servers.append({"names": [], "roots": [], "passes": [], "directives": []})
        elif words == ["}"]:
            del stack[-1:]
        elif not stack and words[0] == "error_log" and "=error_log" not in http:
            http["*error_log"] = (http.get("*error_log", "") + " " + words[1]).strip() if len(words) > 1 else ""
        elif stack:
            _directive(words, stack, upstreams, servers, http)
        previous = words
    return upstreams, servers, http


def _directive(words: list[str], stack: list[list[str]], upstreams: dict[str, list[str]], servers: list[dict[str, Any]],
               http: dict[str, str]) -> None:
    inside = [block[0] for block in stack if block]
    value = words[1] if len(words) > 1 else ""
    if inside[-1:] == ["upstream"] and words[0] == "server":
        upstreams.setdefault(stack[-1][1] if len(stack[-1]) > 1 else "", []).append(value.replace("unix:", ""))
    elif "server" in inside and servers:
        server = servers[-1]
        if words[0] == "server_name":
            server["names"] += words[1:]
        elif words[0] == "root":
            server["roots"].append(value)
        elif words[0] == "proxy_pass":
            location = " ".join(stack[-1]) if inside[-1] == "location" else ""
            server["passes"].append((location, _address(value)))
        elif words[0].startswith("proxy_") or words[0] in ("access_log", "error_log"):
            server["directives"].append((words[0], value))
    elif inside == ["http"]:
        http[words[0]] = value
        if words[0] in ("access_log", "error_log"):  # several are allowed; in http they replace those of the main context
            known = http.get("*" + words[0], "") if "=" + words[0] in http else ""
            http["=" + words[0]] = "http"
            http["*" + words[0]] = (known + " " + value).strip()


def _address(target: str) -> str:
    """host:port, the path of a socket or the name of an upstream, of what proxy_pass names."""
    rest = re.sub(r"^https?://", "", target)
    return rest[5:].split(":")[0] if rest.startswith("unix:") else rest.split("/")[0]


def _is_ours(server: dict[str, Any], install: dict[str, Any]) -> bool:
    return bool(server["passes"]) and (install.get("domain") in server["names"]
                                       or any(root.startswith(install["root"]) for root in server["roots"]))


def _timeout(servers: list[dict[str, Any]], http: dict[str, str], name: str) -> float:
    """The shortest wait that any of the server blocks sets, in seconds."""
    values = [value for server in servers for key, value in server["directives"] if key == name] or [http.get(name, "")]
    seconds = []
    for value in values:
        match = re.match(r"^(\d{1,9})(ms|s|m|h|d|)$", value)
        if match:
            seconds.append(int(match.group(1)) * _UNITS[match.group(2)])
    return min(seconds) if seconds else DEFAULT_TIMEOUT_SECONDS
