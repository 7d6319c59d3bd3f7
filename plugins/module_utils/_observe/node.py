# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of the subset assets: the Node.js that streaming and the build get, against what this release asks for, and its packages."""

from __future__ import annotations

import json
import re

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_PACKAGE_BYTES = 1 << 20
_TERM = re.compile(r"^(>=|<=|>|<|\^|~|=)?\s*v?(\d+)(?:\.(\d+|x|\*))?(?:\.(\d+|x|\*))?$")


def observe_node(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """`node` and `packages_missing` of the contract; each absent when it cannot be told."""
    facts: dict[str, Any] = {}
    if install.get("deployment") == "docker":
        return facts  # streaming has an image of its own, and the packages of each belong to it
    package = _package(host, install["root"] + "/package.json")
    wanted = (package.get("engines") or {}).get("node") if isinstance(package.get("engines"), dict) else None
    node = _node(host, install)
    if isinstance(wanted, str):
        node["wanted"] = wanted[:60]
        fits = satisfies(node["version"], wanted) if "version" in node else None
        if fits is not None:
            node["supported"] = fits
    if node:
        facts["node"] = node
    missing = missing_packages(host, install["root"])
    if missing is not None:
        facts["packages_missing"] = missing[:10]
    return facts


def missing_packages(host: Host, root: str) -> list[str] | None:
    """What streaming/package.json (there is one since 4.3) names and is neither beside it nor, as in a workspace, above; None without."""
    needed = _package(host, root + "/streaming/package.json").get("dependencies")
    if not isinstance(needed, dict):
        return None
    places = [root + "/streaming/node_modules/", root + "/node_modules/"]
    names = [name for name in sorted(needed) if re.match(r"^(@[\w.-]{1,100}/)?[\w.-]{1,100}$", name)]
    return [name for name in names if not any(host.exists(place + name) for place in places)]


def _package(host: Host, path: str) -> dict[str, Any]:
    try:
        content = json.loads(host.maybe(path, MAX_PACKAGE_BYTES) or "{}")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _node(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """path and version of the program that the streaming unit names, else of the one on the PATH of the services."""
    owner = host.owner(install["owner"]) if "owner" in install else None
    streaming = [unit for unit in install["units"] if unit["role"] == "streaming" and unit["_argv"] and not unit["shim"]]
    named = [unit["_argv"][0].lstrip("-@:+!") for unit in streaming]
    search = install["_environment"].get("PATH") or DEFAULT_PATH
    places = [path for path in named if re.match(r"^/.*/node(js)?$", path)] + [each + "/node" for each in search.split(":") if each]
    path = next((place for place in places if host.is_executable(place)), "")
    if not path:
        return {}
    node: dict[str, Any] = {"path": path}
    if owner is not None and owner.uid != 0:
        try:
            done = host.run([path, "--version"], 3.0, 4096, owner)
        except HostError:
            return node
        told = re.match(rb"^v(\d{1,4}\.\d{1,4}\.\d{1,6})\s*$", done.out) if done.rc == 0 else None
        if told:
            node["version"] = told.group(1).decode("ascii")
    return node


def satisfies(version: str, wanted: str) -> bool | None:
    """Whether a version is in a range of npm (`>=20`, `^18 || >=20.1 <23`, `22.x`); None when the range is of a kind not known here."""
    number = tuple(int(part) for part in version.split("."))
    answers = []
    for choice in wanted.split("||"):
        terms = re.findall(r"(?:>=|<=|>|<|\^|~|=)?\s*v?[\dx*][\w.*]*", choice)
        if re.sub(r"\s", "", "".join(terms)) != re.sub(r"\s", "", choice):
            return None
        tests = [_within(number, term) for term in terms]
        if not tests or None in tests:
            return None
        answers.append(all(tests))
    return any(answers)


def _within(number: tuple[int, ...], term: str) -> bool | None:
    found = _TERM.match(term.strip())
    if found is None:
        return None
    operator, parts = found.group(1), found.groups()[1:]
    given = [int(part) for part in parts if part is not None and part.isdigit()]
    low = tuple(given + [0] * (3 - len(given)))
    # `20`, `20.x` and `~20.1` leave the last part open, `^` all behind the first that is not 0.
    fixed = 1 if operator == "^" else min(2, len(given)) if operator == "~" else len(given)
    high = low[:fixed - 1] + (low[fixed - 1] + 1,)
    if operator == ">=":
        return number >= low
    if operator == "<":
        return number < low
    if operator == ">":
        return number[:len(high)] >= high if len(given) < 3 else number > low
    if operator == "<=":
        return number[:len(high)] < high if len(given) < 3 else number <= low
    return number >= low and number[:len(high)] < high
