# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset assets: are the compiled packs there, whole, newer than their sources, and older than the process that serves them."""

from __future__ import annotations

import json
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.node import observe_node
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules

# 4.4 to 4.6 keep Vite's manifest in .vite/, later releases beside the packs; up to 4.3 Webpacker's is there too.
MANIFESTS = {"vite": ("public/packs/.vite/manifest.json", "public/packs/manifest.json"), "webpacker": ("public/packs/manifest.json",)}
SOURCE_FILES = ("package.json", "yarn.lock", "vite.config.mts", "vite.config.ts", "babel.config.js")
SOURCE_TREES = ("app/javascript", "config/webpack")
MAX_CHECKED = 300
MAX_SOURCES = 20000
MAX_MANIFEST_BYTES = 4 << 20
# A build writes its manifest last; sources written within this time of it belong to the same deployment.
GRACE_SECONDS = 2.0


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset, without starting the build tools: manifest, a sample of its files, modification times."""
    root = install["root"]
    bundler = rules(tuple(install.get("version", {}).get("number", (99,)))).bundler
    path = next((name for name in MANIFESTS[bundler] if host.exists(root + "/" + name)), MANIFESTS[bundler][0])
    status = host.stat(root + "/" + path)
    manifest: dict[str, Any] = {"path": path, "exists": status is not None}
    facts: dict[str, Any] = {"bundler": bundler, "manifest": manifest, **observe_node(host, install)}
    newest = _newest_source(host, root)
    if newest is not None:
        facts["newest_source"] = {"path": newest[1], "epoch": newest[0]}
    if status is None:
        facts.update(stale=False, web_older_than_build=False)
        return facts
    manifest["built_epoch"] = status.st_mtime
    try:
        content = json.loads(host.read(root + "/" + path, MAX_MANIFEST_BYTES))
    except (ValueError, RecursionError):
        content = None
    except HostError as problem:
        facts["_reason"] = str(problem)
        return facts
    manifest.update(valid=isinstance(content, dict), entries=0)
    if isinstance(content, dict):
        files = sorted(_files(content))
        manifest["entries"] = len(content)
        checked = files[::max(1, -(-len(files) // MAX_CHECKED))]
        missing = [name for name in checked if not host.exists(root + "/public/packs/" + name)]
        facts.update(files_checked=len(checked), files_missing=missing[:10], files_missing_count=len(missing))
    # Packs copied from a build host keep the time they were made; when they came here is the time of the last change of their inode.
    here = max(status.st_mtime, status.st_ctime)
    facts["stale"] = newest is not None and newest[0] > here + GRACE_SECONDS
    started = [unit["_started_epoch"] for unit in install["units"]
               if unit["role"] == "web" and "pid" in unit and "_started_epoch" in unit]
    facts["web_older_than_build"] = bool(started) and min(started) < status.st_mtime - GRACE_SECONDS
    return facts


def _files(content: dict[str, Any]) -> set[str]:
    """Paths below public/packs that a manifest of Webpacker (name -> path) or Vite (source -> {file, css, assets}) names."""
    found: set[str] = set()
    for value in content.values():
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, dict) and "file" in value:
            found.update(each for each in [value["file"]] + list(value.get("css") or []) + list(value.get("assets") or []))
    foreign = ("http:", "https:", "//")
    return {_relative(name) for name in found if isinstance(name, str) and ".." not in name and not name.startswith(foreign)}


def _relative(name: str) -> str:
    name = name.split("?")[0].lstrip("/")
    return name[len("packs/"):] if name.startswith("packs/") else name


def _newest_source(host: Host, root: str) -> tuple[float, str] | None:
    """(epoch, path) of the source of the packs that was written last; what an upgrade by git writes anew."""
    best: tuple[float, str] | None = None
    waiting = [root + "/" + name for name in SOURCE_TREES]
    seen = 0
    until = time.monotonic() + host.left(2.0)
    candidates = [root + "/" + name for name in SOURCE_FILES]
    while candidates or waiting:
        if not candidates:
            directory = waiting.pop()
            candidates = [directory + "/" + name for name in host.names(directory)]
            continue
        path = candidates.pop()
        status = host.stat(path, follow=False)
        seen += 1
        if seen > MAX_SOURCES or (seen % 256 == 0 and time.monotonic() > until):
            return best
        if status is None:
            continue
        if status.st_mode & 0o170000 == 0o040000:
            waiting.append(path)
        elif status.st_mode & 0o170000 == 0o100000 and (best is None or status.st_mtime > best[0]):
            best = (status.st_mtime, path[len(root) + 1:])
    return best
