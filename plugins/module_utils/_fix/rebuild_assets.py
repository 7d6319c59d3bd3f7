# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the assets anew where they are missing, broken or older than the code; what is served stays until the new ones are whole."""

from __future__ import annotations

import contextlib
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app, _build, _build_needs, _packs, _workshop
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._workshop import Workshop
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import services
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.assets import MANIFESTS

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

UNDO = _workshop.UNDO
BUILD_SECONDS = 1800
RELOAD_SECONDS = 120.0


def fix(change: Change) -> None:
    """Options: deadline_seconds of the build; force (true): build although nothing speaks for it."""
    root = _app.mastodon(change)
    why = wanted(change.facts, change.options, change.issues)
    if why:
        build(change, root, why)
    if why or change.facts.get("assets", {}).get("web_older_than_build"):
        reload_web(change)


def wanted(host_facts: dict[str, Any], options: dict[str, Any], issues: list[str]) -> str:
    """Why a build is needed; empty when none is."""
    facts = host_facts.get("assets")
    if not facts or "manifest" not in facts:
        raise Refused("the assets of this host could not be looked at: %s" % (
            host_facts.get("probes", {}).get("assets", {}).get("reason") or "the subset assets gave no facts"))
    manifest = facts["manifest"]
    if not manifest["exists"]:
        return "%s is not there" % manifest["path"]
    if not manifest.get("valid") or not manifest.get("entries"):
        return "%s is not a manifest" % manifest["path"]
    if facts.get("files_missing_count"):
        return "%d files of the manifest are not there" % facts["files_missing_count"]
    if facts.get("stale"):
        return "%s is newer than the build" % facts["newest_source"]["path"]
    if str(options.get("force", "")).lower() == "true":
        return "a build was asked for"
    if "assets_missing" in issues and not facts.get("web_older_than_build"):
        return "the manifest lacks what the code asks for"
    return ""


def build(change: Change, root: str, why: str) -> None:
    seconds = _app.number_of(change, "deadline_seconds", BUILD_SECONDS, 60, 6 * 3600)
    bundler = _packs.bundler_of(change.install)
    owner = change.owner()
    environment = _app.environment(change.install, owner, _app.search_path(change.host, change.install, owner))
    package = _build_needs.package(change, root)
    _build_needs.require_memory(change, bundler)
    _build_needs.require_node(change, package.node, environment)
    modules = _build_needs.modules_missing(change, root) if package.dependencies else ""
    if package.dependencies:
        _build_needs.require_yarn(change, root, package.yarn, environment)
    workshop = Workshop(change, root)
    workshop.require(_build_needs.room_needed(workshop, bool(modules)))
    end = time.monotonic() + seconds
    if not workshop.open("build the assets anew beside the served ones, because %s" % why):
        if modules:
            change.note("install the JavaScript dependencies", "", modules)
        workshop.switch()
        return
    binds = workshop.furnish()
    if modules:
        change.say("installing the JavaScript dependencies: %s" % modules)
        _build_needs.install_modules(change, root, package.yarn, environment, max(60.0, end - time.monotonic()))
    if _packs.last_build_failed(change.host, root, bundler):
        _clear_cache(workshop, environment, binds, end)
    built = _precompile(workshop, environment, binds, end)
    if not built.worked and not modules and package.dependencies and _build_needs.asks_for_modules(built.output):
        _build_needs.install_modules(change, root, package.yarn, environment, max(60.0, end - time.monotonic()))
        built = _precompile(workshop, environment, binds, end)
    trouble = _incomplete(workshop, bundler) if built.worked else ""
    if trouble and "no manifest" in trouble:
        # It took an earlier build for this one ("Everything's up-to-date. Nothing to do").
        change.say("the bundler skipped the build; clearing its cache")
        _clear_cache(workshop, environment, binds, end)
        built = _precompile(workshop, environment, binds, end)
        trouble = _incomplete(workshop, bundler) if built.worked else ""
    if not built.worked or trouble:
        _give_up(change, built, trouble, bundler)
    workshop.switch()
    change.say("the new assets are served")


def _precompile(workshop: Workshop, environment: dict[str, str], binds: list[tuple[str, str]], end: float) -> _build.Built:
    return _build.run(workshop, [workshop.root + "/bin/rails", "assets:precompile"], "build the assets (bin/rails assets:precompile)",
                      max(60, int(end - time.monotonic())), environment, binds)


def _clear_cache(workshop: Workshop, environment: dict[str, str], binds: list[tuple[str, str]], end: float) -> None:
    done = _build.run(workshop, [workshop.root + "/bin/rails", "tmp:cache:clear"], "clear the cache (bin/rails tmp:cache:clear)",
                      max(60, int(end - time.monotonic())), environment, binds)
    if not done.worked:
        raise HostError("bin/rails tmp:cache:clear failed: %s" % done.why)


def _incomplete(workshop: Workshop, bundler: str) -> str:
    why = _app.as_app(workshop.owner, lambda host: {"why": _packs.incomplete(workshop.public, bundler)}, 60.0)["why"]
    return str(why)


def _give_up(change: Change, built: _build.Built, trouble: str, bundler: str) -> None:
    """What is served was not touched, and undo removes what was made and the bundler's memory of it."""
    if built.worked:
        raise HostError("the build ended well but what it made is not whole: %s; the served assets are as before" % trouble)
    hint = ""
    if built.memory:
        memory = change.facts["memory"]
        hint = "; %s takes about %s, and %s of memory and %s of swap were free: add swap (add_swap) or build elsewhere (copy_assets)" % (
            bundler.capitalize(), _app.size(_build_needs.MEMORY_BYTES[bundler]), _app.size(memory["available_bytes"]),
            _app.size(memory["swap_free_bytes"]))
    raise HostError("the build failed, %s%s; the served assets are as before" % (built.why, hint))


def reload_web(change: Change) -> None:
    """A process reads the manifest once. A hot restart is enough, and nobody is turned away meanwhile."""
    for unit in change.units("web"):
        change.reload(unit["name"])


def check(change: Change) -> str:
    """Wait until the workers that know the new manifest serve: a hot restart is only begun when systemctl returns."""
    units = {unit["name"] for unit in change.units("web")}
    end = time.monotonic() + RELOAD_SECONDS
    late = sorted(units)
    built = newest_manifest(change.install)
    while time.monotonic() < end:
        with contextlib.suppress(HostError):  # busy with starting
            now = [unit for unit in services.discover(Host(end + 10)) if unit["name"] in units and "pid" in unit]
            late = [unit["name"] for unit in now if unit.get("_started_epoch", built) < built]
        if not late:
            return ""
        time.sleep(0.5)
    return "%s still serves with workers from before the new assets" % ", ".join(late)


def newest_manifest(install: dict[str, Any]) -> float:
    host = Host(time.monotonic() + 10)
    times = [status.st_mtime for name in MANIFESTS[_packs.bundler_of(install)]
             for status in [host.stat(install["root"] + "/" + name)] if status is not None]
    return max(times) if times else 0.0
