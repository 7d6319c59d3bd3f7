# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset proxy: what nginx does for Mastodon: its upstreams, how long it waits, what it logs, what it lets through (proxy_site).

Other proxies are named only.
"""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._nginx import Statement, load, seconds
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import proxy_site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAIN_FILE = "/etc/nginx/nginx.conf"
ACCESS_LOG, ERROR_LOG = "/var/log/nginx/access.log", "/var/log/nginx/error.log"
DEFAULT_TIMEOUT_SECONDS = 60  # nginx's own, for proxy_read_timeout and proxy_send_timeout
LOCAL = ("/", "127.", "localhost:", "[::1]:")  # Puma sees such requests come from this host itself
# What tells a 500 of the app from a 502 of the proxy, and finds the request in the logs of the app.
REQUEST_LOG_VARIABLES = ("$status", "$upstream_status", "$request_time", "$upstream_response_time", "$upstream_http_x_request_id")


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset; kind is nginx, caddy, apache2, httpd, haproxy or none."""
    unit = _unit(install)
    if unit is None:
        return {"kind": "none", "running": False}
    facts: dict[str, Any] = {"kind": unit["name"].split(".")[0].split("@")[0], "running": unit["active_state"] == "active"}
    if unit.get("manager") == "compose":
        # Its configuration is in its container, and what it calls its upstreams are names of their network.
        kinds = ("nginx", "caddy", "haproxy", "httpd", "traefik")
        facts["kind"] = next((kind for kind in kinds if kind in unit["image"]), "other")
        return facts
    if facts["kind"] != "nginx" or not host.exists(MAIN_FILE):
        return facts
    root = _configured(host)
    ours = mastodon_servers(root, install)
    if install.get("found") is False:
        # A proxy of its own may stand before other things, too, or before nothing of Mastodon's.
        ours = [server for server in ours if any(is_streaming(each) for each in passes([server]))]
        if not ours:
            return facts
    web = [each for each in passes(ours) if not is_streaming(each)]
    streaming = [each for each in passes(ours) if is_streaming(each)]
    for name in ("read_timeout_seconds", "send_timeout_seconds"):
        facts[name] = min((wait(each, "proxy_" + name[:-8]) for each in web), default=DEFAULT_TIMEOUT_SECONDS)
    facts.update(_upstreams_of(root, web, streaming))
    if facts["upstream_web"]:
        facts["upstream_web_is_local"] = all(place.startswith(LOCAL) for place in facts["upstream_web"])
    logged = request_log(root, ours)
    if logged is not None:
        facts["request_log"] = logged
    changed = [status.st_mtime for status in (host.stat(path) for path in files(root)) if status is not None]
    facts["changed_epoch"] = max(changed, default=0.0)
    facts.update(proxy_site.observe(host, install, root, ours, web))
    return facts


def handed_on(host: Host, install: Mapping[str, Any]) -> dict[str, list[str]]:
    """{upstream_web, upstream_streaming} of the subset, for those who ask there; empty without an nginx."""
    unit = _unit(install)
    if unit is None or not unit["name"].startswith("nginx") or unit.get("manager") == "compose" or not host.exists(MAIN_FILE):
        return {}
    root = _configured(host)
    every = passes(mastodon_servers(root, install))
    return _upstreams_of(root, [each for each in every if not is_streaming(each)], [each for each in every if is_streaming(each)])


def _unit(install: Mapping[str, Any]) -> dict[str, Any] | None:
    """The proxy's; one that is switched off on purpose is left over from before the proxy moved to another host."""
    return next((each for each in install["units"] if each["role"] == "proxy" and each.get("intended", True)), None)


def _upstreams_of(root: Statement, web: Sequence[Statement], streaming: Sequence[Statement]) -> dict[str, list[str]]:
    known = upstreams(root)
    return {key: sorted({place for each in chosen for place in known.get(address(each.value), [address(each.value)])})[:20]
            for key, chosen in (("upstream_web", web), ("upstream_streaming", streaming))}


def files(root: Statement) -> set[str]:
    """Every file of the configuration that holds a statement."""
    return {MAIN_FILE} | {each.file for each in root.walk()}


def logs_of(host: Host, install: Mapping[str, Any]) -> dict[str, Any] | None:
    """For the subset logs: {names, upstreams, access, error} of nginx's server blocks for Mastodon; None when that cannot be told.

    access: log files into which only these blocks write, no request twice; error: those that hold their errors, other blocks' lines among
    them.
    """
    if not host.exists(MAIN_FILE):
        return None
    root = _configured(host)
    domains, checkout = domains_of(install), str(install.get("root") or "")
    every = servers(root)
    ours = [server for server in every if domains & set(names(server)) or (checkout and _serves(server, checkout))]
    proxied = [server for server in every if passes([server])]
    if not ours and len(proxied) == 1:
        ours = proxied
    if not ours:
        return None
    known = upstreams(root)
    addresses = {address(each.value) for each in passes(ours)}
    addresses |= {place for name in addresses for place in known.get(name, ())}
    foreign = {path for server in every if server not in ours for path in _paths(server, "access_log", ACCESS_LOG)}
    return {"names": domains | {name for server in ours for name in names(server)}, "upstreams": addresses,
            "access": sorted(_once([_paths(server, "access_log", ACCESS_LOG) - foreign for server in ours])),
            "error": sorted({path for server in ours for path in _paths(server, "error_log", ERROR_LOG)})}


def access_logs(host: Host, install: Mapping[str, Any]) -> list[str]:
    """Every access log of nginx for Mastodon, those too that hold the requests of another once more: only one may have request ids."""
    if not host.exists(MAIN_FILE):
        return []
    return sorted({path for server in mastodon_servers(_configured(host), install) for path in _paths(server, "access_log", ACCESS_LOG)})


def domains_of(install: Mapping[str, Any]) -> set[str]:
    """Every name under which this Mastodon answers."""
    environment = install.get("_environment") or {}
    found = [install.get("domain") or "", environment.get("WEB_DOMAIN") or "", *str(environment.get("ALTERNATE_DOMAINS") or "").split(",")]
    return {name.strip().lower() for name in found if name.strip()}


# -- the configuration ---------------------------------------------------------------------------------------------


def servers(root: Statement) -> list[Statement]:
    return [each for http in root.own("http") for each in http.body if each.words == ["server"]]


def mastodon_servers(root: Statement, install: Mapping[str, Any]) -> list[Statement]:
    """The server blocks that pass requests on to Mastodon: by name or by root, else all that pass on anything."""
    proxied = [server for server in servers(root) if passes([server])]
    ours = [server for server in proxied if install.get("domain") in names(server)
            or (install.get("root") and _serves(server, str(install["root"])))]
    return ours or proxied


def names(server: Statement) -> list[str]:
    return [name for each in server.own("server_name") for name in each.words[1:]]


def passes(blocks: Sequence[Statement]) -> list[Statement]:
    """The proxy_pass statements of these server blocks."""
    return [each for block in blocks for each in block.walk() if each.name == "proxy_pass"]


def location_of(statement: Statement) -> Statement | None:
    return statement.within("location")


def is_streaming(proxy_pass: Statement) -> bool:
    location = location_of(proxy_pass)
    return location is not None and any("streaming" in word for word in location.words)


def upstreams(root: Statement) -> dict[str, list[str]]:
    return {each.value: [server.value.replace("unix:", "") for server in each.own("server")]
            for http in root.own("http") for each in http.own("upstream")}


def address(target: str) -> str:
    """host:port, the path of a socket or the name of an upstream, of what proxy_pass names."""
    rest = re.sub(r"^https?://", "", target)
    return rest[5:].split(":")[0] if rest.startswith("unix:") else rest.split("/")[0]


def wait(proxy_pass: Statement, name: str) -> float:
    """How many seconds proxy_read_timeout or proxy_send_timeout is where this request is passed on."""
    found = (location_of(proxy_pass) or proxy_pass.parent or proxy_pass).in_effect(name)
    told = seconds(" ".join(found[-1].words[1:])) if found else None
    return DEFAULT_TIMEOUT_SECONDS if told is None else told


def formats(root: Statement) -> dict[str, str]:
    """log_format by name; `combined` is built in."""
    found = {"combined": "$status"}
    for http in root.own("http"):
        for each in http.own("log_format"):
            found[each.value] = "".join(word for word in each.words[2:] if not word.startswith("escape="))
    return found


def is_complete(text: str) -> bool:
    """Whether a log format has all that is needed to tell causes apart."""
    return all(re.search(r"\$\{?%s\b" % variable[1:], text) for variable in REQUEST_LOG_VARIABLES)


def request_log(root: Statement, ours: Sequence[Statement]) -> dict[str, Any] | None:
    """Where nginx logs the requests that it passes on to the web process: {path, format, complete}; the most telling of several."""
    known = formats(root)
    found = []
    for each in passes(ours):
        if not is_streaming(each):
            for log in (location_of(each) or each).in_effect("access_log"):
                name = log.words[2] if len(log.words) > 2 and "=" not in log.words[2] else "combined"
                if log.value != "off":
                    found.append({"path": log.value, "format": name, "complete": is_complete(known.get(name, ""))})
    return next((each for each in found if each["complete"]), found[0] if found else None)


def _configured(host: Host) -> Statement:
    return load(MAIN_FILE, lambda path: host.maybe(path, 1 << 19), host.glob)


def _serves(server: Statement, checkout: str) -> bool:
    return any(each.name == "root" and each.value.startswith(checkout) for each in server.walk())


def _paths(server: Statement, name: str, default: str) -> set[str]:
    """Log files of a server block: its own, else those of http, else those of the main context, else nginx's."""
    found = [each.value for each in server.walk() if each.name == name] or [each.value for each in server.in_effect(name)] or [default]
    return {path for path in found if path.startswith("/") and not path.startswith("/dev/") and "$" not in path}


def _once(logs: list[set[str]]) -> set[str]:
    """Of the log files of each block as few as hold all their requests, and none that hold a block's requests a second time."""
    chosen: set[str] = set()
    for path in sorted({path for each in logs for path in each}, key=lambda path: (-sum(path in each for each in logs), path)):
        if not any(path in each and each & chosen for each in logs):
            chosen.add(path)
    return chosen
