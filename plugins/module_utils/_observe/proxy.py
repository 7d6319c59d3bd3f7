# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset proxy: what nginx is configured to do for Mastodon: its upstreams and how long it waits. Other proxies are named only."""

from __future__ import annotations

import re

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

MAIN_FILE = "/etc/nginx/nginx.conf"
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
    tokens: list[list[str]] = []
    _read(host, MAIN_FILE, tokens, set())
    upstreams, servers, http = _blocks(tokens)
    ours = [server for server in servers if _is_ours(server, install)] or [server for server in servers if server["passes"]]
    facts["read_timeout_seconds"] = _timeout(ours, http, "proxy_read_timeout")
    facts["send_timeout_seconds"] = _timeout(ours, http, "proxy_send_timeout")
    for key, streaming in (("upstream_web", False), ("upstream_streaming", True)):
        found = {address for server in ours for location, name in server["passes"] if ("streaming" in location) == streaming
                 for address in upstreams.get(name, [name])}
        facts[key] = sorted(found)[:20]
    return facts


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
            server["passes"].append((location, re.sub(r"^https?://", "", value).split("/")[0]))
        elif words[0].startswith("proxy_"):
            server["directives"].append((words[0], value))
    elif inside == ["http"]:
        http[words[0]] = value


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
