# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled assets: whether they are whole, and digests that tell two checkouts or two builds apart (private, may change any time)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.assets import MANIFESTS, MAX_MANIFEST_BYTES, _files
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FOLDERS = ("packs", "assets")
# What decides what a build makes. Not the environment, and not what belongs to one host.
SOURCES = ("lib/mastodon/version.rb", "package.json", "yarn.lock", ".yarnrc.yml", "babel.config.js", "postcss.config.js", "tsconfig.json",
           "vite.config.mts", "vite.config.ts", "config/vite.json", "config/vite.yml", "config/webpacker.yml", "config/vite",
           "config/webpack", "app/javascript", "app/assets", "app/views/errors")
MAX_FILES = 100000
MAX_BYTES = 4 << 30


def bundler_of(install: dict[str, Any]) -> str:
    return rules(tuple(install.get("version", {}).get("number", (99,)))).bundler


def files_below(top: str) -> Iterator[str]:
    """Relative names of the regular files below a directory (of a file itself: ''), in order; follows no link."""
    if stat.S_ISREG(os.lstat(top).st_mode):
        yield ""
        return
    waiting = [""]
    seen = 0
    while waiting:
        at = waiting.pop()
        with os.scandir(top + "/" + at if at else top) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        folders = []
        for entry in entries:
            name = at + "/" + entry.name if at else entry.name
            seen += 1
            if seen > MAX_FILES:
                raise HostError("%s holds more than %d files" % (top, MAX_FILES))
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif entry.is_file(follow_symlinks=False):
                yield name
        waiting += reversed(folders)


def digest(root: str, names: tuple[str, ...]) -> str:
    """SHA-256 over names and contents of these files and folders below root; what is not there counts as not there."""
    whole = hashlib.sha256()
    total = 0
    for name in names:
        if not os.path.lexists(root + "/" + name):
            continue
        for relative in sorted(files_below(root + "/" + name)):
            path = name + "/" + relative if relative else name
            one = hashlib.sha256()
            handle = os.open(root + "/" + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as stream:
                for part in iter(lambda: stream.read(1 << 20), b""):
                    one.update(part)
                    total += len(part)
                    if total > MAX_BYTES:
                        raise HostError("%s holds more than %d bytes" % (root, MAX_BYTES))
            whole.update(os.fsencode(path) + b"\0" + one.digest())
    return whole.hexdigest()


def fingerprint(root: str) -> str:
    """Of the sources of the assets: two checkouts with the same one build the same."""
    return digest(root, SOURCES)


def content(root: str) -> str:
    """Of the compiled assets themselves."""
    return digest(root + "/public", FOLDERS)


def incomplete(public: str, bundler: str) -> str:
    """Why the packs below this directory cannot be served; empty when the manifest and all files that it names are there."""
    path = next((public + name[len("public"):] for name in MANIFESTS[bundler] if os.path.lexists(public + name[len("public"):])), "")
    if not path:
        return "there is no manifest"
    host = Host(float("inf"))
    try:
        listed = json.loads(host.read(path, MAX_MANIFEST_BYTES))
    except (ValueError, RecursionError):
        return "the manifest is not JSON"
    if not isinstance(listed, dict) or not listed:
        return "the manifest is empty"
    missing = [name for name in sorted(_files(listed)) if not os.path.isfile(public + "/packs/" + name)]
    return "%d files of the manifest are not there, the first is %s" % (len(missing), missing[0][:120]) if missing else ""


def last_build_failed(host: Host, root: str, bundler: str) -> bool:
    """Whether the bundler remembers a failed build; it then may take the next one for done (mastodon.md: Everything's up-to-date)."""
    if bundler == "vite":
        text = host.maybe(root + "/tmp/cache/vite/last-build-production.json", 1 << 20) or ""
        return bool(re.search(r'"success"\s*:\s*false', text))
    stamp = host.stat(root + "/tmp/cache/webpacker/last-compilation-digest-production")
    manifest = host.stat(root + "/" + MANIFESTS[bundler][0])
    # Webpacker writes its stamp once it is done, whether it worked or not; a manifest that is older comes from another build.
    return stamp is not None and (manifest is None or manifest.st_mtime < stamp.st_mtime - 600)


def stamps(root: str) -> list[str]:
    """What the bundlers remember of the last build."""
    return [root + "/tmp/cache/webpacker/last-compilation-digest-production", root + "/tmp/cache/vite/last-build-production.json"]
