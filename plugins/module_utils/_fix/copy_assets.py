# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the assets that another host built from the same commit: public/packs and public/assets together, in place of the old ones."""

from __future__ import annotations

import os
import re
import stat

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app, _archive, _packs, _workshop, rebuild_assets
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._workshop import Workshop
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

UNDO = _workshop.UNDO
check = rebuild_assets.check
_SECONDS = 600.0
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


def fix(change: Change) -> None:
    """Options, all from the controller: version, sources, content, bytes (the header of the archive), archive (its path here), sha256."""
    root = _app.mastodon(change)
    told = expected(change)
    _same_sources(change, root, told)
    owner = change.owner()
    now = _app.as_app(owner, lambda host: {"content": _packs.content(root)}, _SECONDS)["content"]
    # The same files can be older than sources that were written again; then new ones take their place too, or they would stay stale.
    if now == told["content"] and not rebuild_assets.wanted(change.facts, {}, []):
        if change.facts.get("assets", {}).get("web_older_than_build"):
            rebuild_assets.reload_web(change)
        return
    workshop = Workshop(change, root)
    workshop.require(int(told["bytes"]) * 2 + (50 << 20))
    if change.check_mode:
        workshop.open("unpack the assets of the build host beside the served ones")
        workshop.switch()
        rebuild_assets.reload_web(change)
        return
    handle = _opened(told)
    try:
        workshop.open("unpack the assets of the build host beside the served ones")
        change.say("unpacking %s files of the build host" % told.get("files", "the"))
        _app.as_app(owner, lambda host: _archive.unpack(handle, workshop.public, told), _SECONDS)
    finally:
        os.close(handle)
    why = _app.as_app(owner, lambda host: {"why": _packs.incomplete(workshop.public, _packs.bundler_of(change.install))}, _SECONDS)["why"]
    if why:
        raise HostError("the assets of the build host are not whole: %s; the served ones are as before" % why)
    workshop.switch()
    rebuild_assets.reload_web(change)


def expected(change: Change) -> dict[str, Any]:
    told = change.options
    if not _DIGEST.match(str(told.get("sources", ""))) or not _DIGEST.match(str(told.get("content", ""))):
        raise Refused("no assets of a build host were given: set mastodon_build_host to a host with the same commit of Mastodon")
    if not str(told.get("bytes", "")).isdigit() or int(told["bytes"]) > _archive.MAX_BYTES:
        raise Refused("the archive of the build host does not say how large it is, or is larger than %s" % _app.size(_archive.MAX_BYTES))
    return told


def _same_sources(change: Change, root: str, told: dict[str, Any]) -> None:
    here = change.install.get("version", {}).get("string", "unknown")
    if told.get("version") != here:
        raise Refused("the build host has Mastodon %s and this host %s: check the same commit out on both" % (
            str(told.get("version"))[:40], here))
    mine = _app.as_app(change.owner(), lambda host: {"sources": _packs.fingerprint(root)}, _SECONDS)["sources"]
    if mine != told["sources"]:
        raise Refused("the sources of the assets (app/javascript, package.json, yarn.lock, configuration of the bundler) are not the same "
                      "on the build host and here, though both are %s: check the same commit out on both" % here)


def _opened(told: dict[str, Any]) -> int:
    """The archive, opened by root and found to be what was sent."""
    path = str(told.get("archive") or "")
    if not path.startswith("/"):
        raise Refused("the archive of the build host was not brought to this host")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise Refused("the archive %s cannot be read: %s" % (path, problem.strerror)) from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode) or _archive.sha256_of(handle) != told.get("sha256"):
            raise Refused("the archive %s is not what was sent (SHA-256 differs)" % path)
    except BaseException:
        os.close(handle)
        raise
    return handle
