# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the containers of a compose project fit together (`services.compose` of the facts): networks, volumes, images, health checks."""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils import _engine
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

APP_ROLES = ("web", "sidekiq", "streaming")
STORES = ("database", "redis", "pooler")
# What the image brings along and a volume in its place would hide, for ever in the version of the day it was made.
BAKED = ("public/packs", "public/assets", "public", "app", "config", "")


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """Facts by the contract; what the engine will not tell of its networks is absent."""
    units = [unit for unit in install["units"] if unit.get("manager") == "compose"]
    facts: dict[str, Any] = dict(
        install["compose"], unreachable=_unreachable(units), shadowed=_shadowed(units, install["root"]),
        unsaved=_unsaved(units, install), mixed_versions=_mixed(units))
    engine = _engine.at(host, install["_engine"])
    try:
        facts["engine"] = str(engine.get("/version").get("Version", ""))[:40]
        internal = {str(each.get("Name")) for each in engine.get("/networks") if each.get("Internal")}
    except HostError:
        return facts
    facts["internal_only"] = [unit["name"] for unit in units if unit["role"] in ("web", "sidekiq") and unit["networks"]
                              and not unit["_shares_network"] and set(unit["networks"]) <= internal]
    return facts


def _unreachable(units: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Containers of the app that share no network with a store of the project that runs; one without any network stands for itself."""
    found = []
    for unit in units:
        if unit["role"] not in APP_ROLES or "pid" not in unit or unit["_shares_network"]:
            continue
        for role in STORES[:2]:
            stores = [other for other in units if other["role"] == role and "pid" in other]
            if stores and not any(set(unit["networks"]) & set(other["networks"]) or other["_shares_network"] for other in stores):
                found.append({"unit": unit["name"], "other": stores[0]["name"], "role": role})
    return found


def _shadowed(units: list[dict[str, Any]], root: str) -> list[dict[str, str]]:
    """Volumes over what the image brings along."""
    places = {(root + "/" + path).rstrip("/"): path for path in BAKED}
    # The image has /mastodon as a second name of /opt/mastodon, and compose files use either.
    places.update({("/mastodon/" + path).rstrip("/"): path for path in BAKED})
    return [{"unit": unit["name"], "path": mount["path"], "source": mount["source"][:200]}
            for unit in units if unit["role"] in ("web", "sidekiq") for mount in unit["_mounts"] if mount["path"] in places]


def source_of(unit: dict[str, Any], path: str) -> str:
    """Where a path of a container lies on the host: below the source of the mount that holds it; empty when it is in the image's layer."""
    best = mount_of(unit, path)
    return best["source"] + path[len(best["path"]):] if best and best["source"].startswith("/") else ""


def mount_of(unit: dict[str, Any], path: str) -> dict[str, Any] | None:
    """The mount that holds a path of a container; None when it is in the image's layer."""
    holding = [each for each in unit["_mounts"] if path == each["path"] or path.startswith(each["path"] + "/")]
    return max(holding, key=lambda each: len(each["path"]), default=None)


def media_path(unit: dict[str, Any], install: Mapping[str, Any]) -> str:
    """Media, by the name that the compose file has for them: /mastodon is a second name of /opt/mastodon in upstream's image."""
    told = str(install["media_root"])
    linked = told.replace(install["root"], "/mastodon", 1) if told.startswith(install["root"] + "/") else told
    return told if mount_of(unit, told) else linked


def _unsaved(units: Iterable[dict[str, Any]], install: dict[str, Any]) -> list[dict[str, str]]:
    """Where uploads go into the container's own layer: they are gone with the next `docker compose up` that makes it anew."""
    if install["storage"] != "local":
        return []
    return [{"unit": unit["name"], "path": install["media_root"]} for unit in units if unit["role"] in ("web", "sidekiq")
            and mount_of(unit, media_path(unit, install)) is None]


def _mixed(units: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Containers of the app that are not all of one release: by the version of their image, or two images of one name."""
    apps = [unit for unit in units if unit["role"] in APP_ROLES]
    versions = {_release(unit["image_version"]) for unit in apps if unit.get("image_version")}
    images: dict[str, set[str]] = {}
    for unit in apps:
        images.setdefault(re.sub(r"(@|:[^:/]*$).*", "", unit["image"]), set()).add(unit["_image_id"])
    if len(versions) < 2 and all(len(each) < 2 for each in images.values()):
        return []
    return [{"unit": unit["name"], "image": unit["image"], "version": unit.get("image_version", "")} for unit in apps]


def _release(version: str) -> str:
    return version.split("+")[0].lstrip("v")
