# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset media: the tools that make thumbnails, as the service sees them, and whether the app's user may write where uploads go."""

from __future__ import annotations

import re

from typing import Any, Mapping
from urllib.parse import urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError, Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._network import error_kind
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.disk import mount_of, mount_table
from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import apart
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import image_library

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIBRARY_DIRECTORIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/lib", "/lib64", "/usr/lib/*-linux-gnu*",
                       "/lib/*-linux-gnu*")
# Mastodon refuses to start with an older one. Its version is in its file name: libvips 8.N is libvips.so.42.(N + 2).x, because the age of
# its binary interface grew by one with each of these (8.10 of Debian 11 is 42.12, 8.16 of Debian 13 is 42.18).
MINIMUM_LIBVIPS = (8, 13)
LIBVIPS_AGE = 2
MAX_DIRECTORIES = 400
MAX_DEPTH = 4
ENDPOINT_SECONDS = 6.0
PROXY_SETTINGS = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")  # the way is the proxy's then
# What Mastodon itself writes below the root of its media; lost+found and what others put there are none of its business.
TREES = ("accounts", "media_attachments", "cache", "custom_emojis", "site_uploads", "preview_cards", "imports", "backups")


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset. Directories are not looked at when media lie in object storage."""
    owner = host.owner(install["owner"]) if "owner" in install else None
    facts: dict[str, Any] = {"storage": install["storage"]}
    local = install["storage"] == "local"
    if local:
        facts["read_only"] = _read_only(host, install)
    if owner is not None:
        host.become(owner)
    facts["tools"] = _tools(host, install, owner)
    facts["tmp"] = _tmp(host, install["root"] + "/tmp")
    if local:
        facts["directories"], facts["unwritable"] = _directories(host, install["media_root"])
    elif install["storage"] == "s3":
        facts.update(_endpoint(host, install["_environment"]))
    return facts


def _endpoint(host: Host, settings: Mapping[str, str]) -> dict[str, Any]:
    """Whether anybody takes connections where S3_ENDPOINT leads; nothing of AWS itself, which has an address for each region.

    Up to 4.1 Mastodon answers 503 and writes nothing when nobody does (rescue_from Seahorse::Client::NetworkingError).
    """
    try:
        place = urlsplit(settings.get("S3_ENDPOINT", "").strip())
        port = place.port or (80 if place.scheme == "http" else 443)
    except ValueError:
        return {}
    if place.scheme not in ("http", "https") or not place.hostname or any(settings.get(each) for each in PROXY_SETTINGS):
        return {}
    hostname = place.hostname
    # A name has an address of each kind.
    told, why = apart(host, ENDPOINT_SECONDS, lambda seconds: _reached(host, hostname, port, seconds / 2))
    if why:
        return {"_partly": "whether anybody answers at S3_ENDPOINT could not be told: %s" % why}
    return {"endpoint": {"address": "%s:%d" % (hostname[:253], port), **told}}


def _reached(host: Host, name: str, port: int, seconds: float) -> dict[str, Any]:
    try:
        host.connect((name, port), seconds).close()
    except OSError as problem:
        return {"reachable": False, "error": {"kind": error_kind(problem), "message": problem.strerror or "no answer in time"}}
    except ValueError:  # an empty or overlong part of a name
        return {"reachable": False, "error": {"kind": "dns", "message": "no name of a host"}}
    return {"reachable": True}


def _read_only(host: Host, install: dict[str, Any]) -> list[dict[str, Any]]:
    """Where a running unit cannot write although the app must: read-only in the mount namespace of its process.

    From inside of a container the mounts of the host cannot be seen, but those of the container tell of the filesystems behind them.
    """
    found = []
    contained = install["deployment"] == "docker"
    here = mount_table(host.maybe("/proc/self/mountinfo", 4 << 20) or "")
    for unit in install["units"]:
        if unit["role"] not in ("web", "sidekiq") or "pid" not in unit:
            continue
        text = host.maybe("/proc/%d/mountinfo" % unit["pid"], 4 << 20) or ""
        there, outside = mount_table(text), mount_table(text, filesystems=True) if contained else here
        for path in (install["media_root"], install["root"] + "/tmp"):
            real = host.real(path)
            if there and host.is_dir(real):
                mount, _kind, read_only = mount_of(real, there)
                if read_only:
                    found.append({"unit": unit["name"], "path": real, "mount": mount, "host_read_only": mount_of(real, outside)[2]})
    return found


def _tools(host: Host, install: dict[str, Any], owner: Owner | None) -> list[dict[str, Any]]:
    settings = install["_environment"]
    search = settings.get("PATH") or DEFAULT_PATH
    library = image_library(tuple(install.get("version", {}).get("number", (99,))), settings.get("MASTODON_USE_LIBVIPS", ""))
    tools = [_program(host, "ffmpeg", settings.get("FFMPEG_BINARY", ""), search, owner),
             _program(host, "ffprobe", settings.get("FFPROBE_BINARY", ""), search, owner)]
    if library == "imagemagick":
        tools += [_program(host, "convert", "", search, owner), _program(host, "identify", "", search, owner)]
    else:
        tools.append(_library(host, "libvips.so.42", settings.get("LD_LIBRARY_PATH", "")))
    return tools


def _program(host: Host, name: str, configured: str, search: str, owner: Owner | None) -> dict[str, Any]:
    """Is it on the PATH of the service, and does it start (a missing shared library is as bad as a missing program)."""
    places = [configured] if configured.startswith("/") else [each + "/" + (configured or name) for each in search.split(":") if each]
    path = next((place for place in places if host.is_executable(place)), "")
    tool: dict[str, Any] = {"name": name, "required": True, "found": bool(path), "works": False}
    if not path:
        return tool
    tool["path"] = path
    if owner is None or owner.uid == 0:
        tool["works"] = True  # as far as can be known: what the app's settings name is never run as root
        return tool
    try:
        done = host.run([path, "-version"], 3.0, 4096, owner, {"PATH": search})
    except HostError as problem:
        tool["error"] = str(problem)
        return tool
    # None: it did not end in time on a busy host, which is no proof that it is broken.
    tool["works"] = done.rc in (0, None)
    if not tool["works"]:
        text = done.err.decode("utf-8", "replace")
        tool["error"] = "".join(each if each.isprintable() else " " for each in text)[:200].strip()
    return tool


def _library(host: Host, name: str, search: str) -> dict[str, Any]:
    places = [each for each in search.split(":") if each.startswith("/")]
    for pattern in LIBRARY_DIRECTORIES:
        places += host.glob(pattern) if "*" in pattern else [pattern]
    path = next((place + "/" + name for place in places if host.exists(place + "/" + name)), "")
    tool: dict[str, Any] = {"name": name, "required": True, "found": bool(path), "works": bool(path)}
    if path:
        tool["path"] = path
        age = re.search(r"\.so\.42\.(\d{1,3})\.\d+$", host.real(path))
        if age:
            version = (8, int(age.group(1)) - LIBVIPS_AGE)
            tool.update(version="%d.%d" % version, minimum_version="%d.%d" % MINIMUM_LIBVIPS, version_supported=version >= MINIMUM_LIBVIPS)
    return tool


def _tmp(host: Host, top: str) -> dict[str, Any]:
    """Of the app's own tmp and what lies in it, the directories that it may not write."""
    names = [top + "/" + name for name in sorted(host.names(top, 100))]
    places = [top] + [path for path in names if host.is_dir(path)] if host.exists(top) else [top.rsplit("/", 1)[0]]
    return {"path": top, "unwritable": [path for path in places if not host.may_write(path)][:10]}


def _directories(host: Host, top: str) -> tuple[list[dict[str, Any]], list[str]]:
    """(facts of the root and of the directories that cannot be written, their paths); a bounded walk, breadth first, following no links."""
    real = host.real(top)
    waiting = [(real, 0)]
    facts: list[dict[str, Any]] = []
    unwritable: list[str] = []
    looked = 0
    while waiting and looked < MAX_DIRECTORIES:
        path, depth = waiting.pop(0)
        status = host.stat(path, follow=False)
        if status is None or status.st_mode & 0o170000 != 0o040000:
            continue
        looked += 1
        writable = host.may_write(path)
        if not writable or path == real:
            owner = host.user(status.st_uid)
            facts.append({"path": path, "writable": writable, "owner": owner.user if owner else str(status.st_uid),
                          "mode": "%04o" % (status.st_mode & 0o7777)})
        if not writable:
            unwritable.append(path)
        if depth < MAX_DEPTH:
            names = TREES if depth == 0 else sorted(host.names(path, 200))
            waiting += [(path + "/" + name, depth + 1) for name in names]
    if not looked:
        # Not there yet: the app must be able to make it.
        parent = real.rsplit("/", 1)[0] or "/"
        if not host.may_write(parent):
            unwritable.append(real)
    return facts[:12], unwritable[:10]
