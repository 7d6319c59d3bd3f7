# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of the subset proxy: what nginx's server block for Mastodon lets through, hands on, serves and may enter.

Source of the defaults: nginx's documentation of ngx_http_core_module and ngx_http_proxy_module.
"""

from __future__ import annotations

import os
import re
import ssl

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._certificate import expires_epoch, first_of
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError, Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._nginx import Statement

DEFAULT_BODY_BYTES = 1 << 20
# Of what nginx tells Puma of the visitor; without a word of its own nginx sends the name of the upstream as Host.
HEADERS = ("host", "x-forwarded-for", "x-forwarded-proto")
TLS_SECONDS = 2.0
MAX_CERTIFICATE_BYTES = 1 << 18
_SIZE = re.compile(r"^(\d{1,15})([kKmMgG]?)$")
_ANYWHERE = ("", "*", "0.0.0.0", "[::]")


def observe(host: Host, install: Mapping[str, Any], root: Statement, ours: Sequence[Statement],
            web: Sequence[Statement]) -> dict[str, Any]:
    """max_body_bytes, largest_upload_bytes, headers, certificate, public of the contract; each absent when it cannot be told.

    `ours`: server blocks of Mastodon; `web`: their proxy_pass statements to the web process.
    """
    facts: dict[str, Any] = {}
    places = [_place(each) for each in web]
    if places:
        limits = [body_limit(each) for each in places]
        limited = [limit for limit in limits if limit]
        if None not in limits:
            facts["max_body_bytes"] = min(limited) if limited else 0
        facts["headers"] = headers(places)
    number = tuple(install.get("version", {}).get("number", ()))
    if number:
        facts["largest_upload_bytes"] = rules(number).largest_upload_bytes
    certificate = _certificate(host, install, ours)
    if certificate:
        facts["certificate"] = certificate
    public = _public(host, install, root, ours)
    if public:
        facts["public"] = public
    return facts


def body_limit(place: Statement) -> int | None:
    """client_max_body_size in bytes, 0: no limit; None when it is no number."""
    found = place.in_effect("client_max_body_size")
    if not found:
        return DEFAULT_BODY_BYTES
    size = _SIZE.match(found[-1].value)
    return int(size.group(1)) << {"": 0, "k": 10, "m": 20, "g": 30}[size.group(2).lower()] if size else None


def headers(places: Sequence[Statement]) -> dict[str, str]:
    """{host, x_forwarded_for, x_forwarded_proto}: what nginx sends; absent when it does not send it everywhere."""
    found: dict[str, str] = {}
    for name in HEADERS:
        values = [_header(place, name) for place in places]
        if all(values):
            found[name.replace("-", "_")] = str(values[0])[:80]
    return found


def worker(host: Host, install: Mapping[str, Any], root: Statement) -> Owner | None:
    """The user that nginx reads files as: of the directive `user`, else of a worker process; None when neither can be told."""
    told = root.own("user")
    if told:
        return host.user(told[-1].value)
    for unit in install["units"]:
        if unit["role"] == "proxy" and "pid" in unit:
            children = (host.maybe("/proc/%d/task/%d/children" % (unit["pid"], unit["pid"]), 4096) or "").split()
            status = host.stat("/proc/" + children[0]) if children else None
            if status is not None:
                return host.user(status.st_uid)
    return None


def closed(host: Host, user: Owner, path: str) -> list[str]:
    """The directories on the way to `path`, itself among them, that this user may not enter; from the outermost."""
    if _may_enter(host, user, path):
        return []
    parts = path.split("/")
    way = ["/".join(parts[:end]) or "/" for end in range(1, len(parts) + 1)]
    # Behind the first that is closed the user cannot be asked any more: the mode must do.
    first = next((each for each in way if not _may_enter(host, user, each)), path)
    groups = os.getgrouplist(user.user, user.gid)
    behind = [(each, host.stat(each)) for each in way[way.index(first) + 1:]]
    return [first, *(each for each, status in behind if status is not None and not _mode_lets_in(user, groups, status))]


def checkout_of(install: Mapping[str, Any]) -> str:
    """The folder of this host that has Mastodon's files: the checkout, or the directory of the compose project with its volumes."""
    compose = install.get("compose")
    return str((compose["directory"] if compose else install.get("root")) or "").rstrip("/")


def public_of(install: Mapping[str, Any], ours: Sequence[Statement]) -> str:
    """The folder of static files that nginx serves from the checkout, "" when it serves none."""
    checkout = checkout_of(install)
    roots = [each.value.rstrip("/") for server in ours for each in server.walk() if each.name == "root"]
    return next((path for path in roots if checkout and (path + "/").startswith(checkout + "/")), "")


def _public(host: Host, install: Mapping[str, Any], root: Statement, ours: Sequence[Statement]) -> dict[str, Any]:
    path, user = public_of(install, ours), worker(host, install, root)
    if not path or user is None or not host.is_dir(path):
        return {}
    try:
        return {"path": path, "user": user.user, "closed": closed(host, user, host.real(path))}
    except HostError:
        return {}  # only root can ask for somebody else


def _may_enter(host: Host, user: Owner, path: str) -> bool:
    return host.run(["test", "-x", path], 2.0, 4096, user).rc == 0


def _mode_lets_in(user: Owner, groups: Sequence[int], status: os.stat_result) -> bool:
    shift = 6 if status.st_uid == user.uid else 3 if status.st_gid in groups else 0
    return bool(status.st_mode >> shift & 1)


def _place(proxy_pass: Statement) -> Statement:
    return proxy_pass.within("location") or proxy_pass.parent or proxy_pass


def _header(place: Statement, name: str) -> str:
    # Any proxy_set_header of a block ends the inheritance of all.
    return next((each.words[2] for each in place.in_effect("proxy_set_header") if len(each.words) > 2 and each.value.lower() == name), "")


# -- TLS -----------------------------------------------------------------------------------------------------------


def _certificate(host: Host, install: Mapping[str, Any], ours: Sequence[Statement]) -> dict[str, Any]:
    """{path, expires_epoch of the file, served_expires_epoch of what nginx really shows}, as far as they can be read."""
    for server in ours:
        ports = [each for each in server.own("listen") if "ssl" in each.words[2:]]
        files = [each.value for each in server.in_effect("ssl_certificate") if each.value.startswith("/") and "$" not in each.value]
        if not ports or not files:
            continue
        facts: dict[str, Any] = {"path": files[0]}
        der = first_of(host.maybe(files[0], MAX_CERTIFICATE_BYTES) or "")
        domain = str(install.get("domain") or next((word for each in server.own("server_name") for word in each.words[1:]), ""))
        moments = {"expires_epoch": expires_epoch(der) if der else None,
                   "served_expires_epoch": _served(host, ports[0].value, domain if domain[:1].isalnum() else "")}
        facts.update((key, moment) for key, moment in moments.items() if moment is not None)
        return facts
    return {}


def _served(host: Host, listen: str, domain: str) -> float | None:
    """notAfter of the certificate that this host's own nginx shows for the domain."""
    if listen.startswith("unix:"):
        return None
    place, _colon, port = listen.rpartition(":") if ":" in listen and not listen.endswith("]") else ("", "", listen)
    if not port.isdigit():
        place, port = listen, "443"
    name = "127.0.0.1" if place in _ANYWHERE else place.strip("[]")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is looked at, not trusted
    try:
        with host.connect((name, int(port)), TLS_SECONDS) as link, context.wrap_socket(link, server_hostname=domain or None) as tls:
            return expires_epoch(tls.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        return None
