# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build of the assets needs before it begins: memory, room, Node, and the dependencies with the Yarn of the release (private)."""

from __future__ import annotations

import json
import re

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._workshop import Workshop

# What a build takes. Webpack: 1 GB resident was measured for its smallest release in Mastodon (issue 4059), "1 GB of memory is not enough"
# (issue 5696), 2 GB in use since. Vite takes less; nobody has published a measurement, so this is an estimate on the safe side.
# Below half of it a build is sure to be killed, or to take others with it, and is not begun.
MEMORY_BYTES = {"webpacker": 2 << 30, "vite": 3 << 29}
# Releases say what they need in package.json (engines); this is for those whose file does not.
MIN_ROOM_BYTES = 200 << 20
MODULES_ROOM_BYTES = 1 << 30
_MODULES_MISSING = re.compile(
    r"Cannot find (?:module|package) |ERR_MODULE_NOT_FOUND|Module not found: Error|integrity check failed|node_modules state file|"
    r"Your Yarn packages are out of date|run `?yarn install|isn't installed|: command not found: (?:vite|webpack)")


class Package(NamedTuple):
    """package.json, as far as it matters."""

    node: str
    yarn: int
    dependencies: bool


def require_memory(change: Change, bundler: str) -> None:
    memory = change.facts.get("memory")
    if not memory:
        probe = change.facts.get("probes", {}).get("memory", {})
        raise Refused("how much memory is free is not known: %s" % probe.get("reason", "no facts"))
    free, needed = memory["available_bytes"] + memory["swap_free_bytes"], MEMORY_BYTES[bundler]
    if free < needed // 2:
        raise Refused("a build with %s takes about %s of memory, and %s of memory and %s of swap are free: add swap first "
                      "(fix add_swap), or build elsewhere (fix copy_assets)" % (
                          bundler.capitalize(), _app.size(needed), _app.size(memory["available_bytes"]),
                          _app.size(memory["swap_free_bytes"])))


def room_needed(workshop: Workshop, install_modules: bool) -> int:
    """Twice what is there now, because a build of the same size needs as much again, and some for a larger one."""
    total = 0
    for name in ("packs", "assets"):
        used, _complete = workshop.change.host.usage(workshop.root + "/public/" + name, float("inf"), 200000)
        total += used
    return total * 2 + MIN_ROOM_BYTES + (MODULES_ROOM_BYTES if install_modules else 0)


def package(change: Change, root: str) -> Package:
    try:
        told = json.loads(change.host.read(root + "/package.json", 1 << 20))
    except (HostError, ValueError) as problem:
        raise Refused("%s/package.json could not be read, so the checkout is not whole: %s" % (root, problem)) from None
    told = told if isinstance(told, dict) else {}
    engines = told.get("engines")
    node = str(engines.get("node", "")) if isinstance(engines, dict) else ""
    manager = re.match(r"yarn@(\d+)\.", str(told.get("packageManager", "")))
    number = tuple(change.install.get("version", {}).get("number", (99,)))[:2]
    yarn = int(manager.group(1)) if manager else 4 if number >= (4, 3) else 1
    return Package(node, yarn, bool(told.get("dependencies") or told.get("devDependencies")))


def require_node(change: Change, needed: str, environment: dict[str, str]) -> None:
    """Node as the app's user sees it; engines is `>=20` or `^18 || >=20` and the like, of which the smallest number counts."""
    version = _version(change, ["node", "--version"], environment)
    if not version:
        raise Refused("node is not on the PATH of user %s (%s), and nothing can be built without it: install Node.js%s" % (
            change.owner().user, environment["PATH"], " " + needed if needed else ""))
    least = [tuple(int(part) for part in found.split(".")) for found in re.findall(r"(?:>=|\^|~|^)\s*v?(\d+(?:\.\d+)*)", needed)]
    if least and version < min(least):
        raise Refused("node is %s for user %s, but this release of Mastodon needs %s: install a newer Node.js" % (
            ".".join(map(str, version)), change.owner().user, needed))


def require_yarn(change: Change, root: str, needed: int, environment: dict[str, str]) -> None:
    version = _version(change, ["env", "-C", root, "yarn", "--version"], dict(environment, COREPACK_ENABLE_DOWNLOAD_PROMPT="0"), 60.0)
    advice = ("as root: corepack enable (from Node.js 25 on first npm install -g corepack)" if needed >= 2 else
              "as root: npm install -g yarn@1")
    if not version:
        raise Refused("yarn is not on the PATH of user %s or does not start: %s" % (change.owner().user, advice))
    if (version[0] >= 2) != (needed >= 2):
        raise Refused("yarn is %s for user %s, but this release of Mastodon needs %d: %s" % (
            ".".join(map(str, version)), change.owner().user, needed, advice))


def modules_missing(change: Change, root: str) -> str:
    """Why the dependencies have to be installed; empty when they need not."""
    if not change.host.is_dir(root + "/node_modules"):
        return "there is no node_modules"
    state = change.host.stat(root + "/node_modules/.yarn-state.yml") or change.host.stat(root + "/node_modules/.yarn-integrity")
    lock = change.host.stat(root + "/yarn.lock")
    if state is not None and lock is not None and lock.st_mtime > state.st_mtime:
        return "yarn.lock is newer than what is installed"
    return ""


def asks_for_modules(output: str) -> bool:
    return bool(_MODULES_MISSING.search(output))


def install_modules(change: Change, root: str, yarn: int, environment: dict[str, str], seconds: float) -> None:
    """What is installed is what yarn.lock says, so it is nothing to take back: whoever updates Mastodon does the same."""
    words = ["yarn", "install", "--immutable" if yarn >= 2 else "--pure-lockfile"]
    # Development tools are part of the build, and NODE_ENV=production would leave them out.
    own = {key: value for key, value in environment.items() if key != "NODE_ENV"}
    done = change.command(words, "install the JavaScript dependencies (%s)" % " ".join(words), seconds, change.owner(),
                          dict(own, COREPACK_ENABLE_DOWNLOAD_PROMPT="0", CI="1"), root)
    if done is not None and done.rc != 0:
        failed = "was not done within %d s" % seconds if done.rc is None else "failed"
        raise HostError("%s %s: %s" % (" ".join(words), failed, _telling(done.output) or done.last_line))


def _telling(output: str) -> str:
    """The newest line of Yarn that names what is wrong, without its decoration; its very last one only says that something was."""
    lines = re.findall(r"(?m)(?:YN(?!0000)\d{4}: \W{0,3}|^error )(\S.*(?:forbidden|blocked|[Ee]rror|ailed|an't|annot|[Nn]ot ).*)$", output)
    return lines[-1].strip()[:300] if lines else ""


def _version(change: Change, words: list[str], environment: dict[str, str], seconds: float = 20.0) -> tuple[int, ...]:
    try:
        done = change.host.run(words, seconds, 4096, change.owner(), environment)
    except HostError:
        return ()
    found = re.search(r"(?m)^v?(\d+)\.(\d+)\.(\d+)", done.out.decode("utf-8", "replace"))
    return tuple(int(part) for part in found.groups()) if found and done.rc == 0 else ()
