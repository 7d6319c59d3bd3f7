# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""allow_writes where docker compose runs Mastodon: what web and Sidekiq must write, mounted so by an override file of ours (private).

A volume that the compose file mounts read-only, in its short words (SOURCE:PATH:ro), is mounted by the same words without `ro`. What it
says in more words is left to its admin: compose takes the whole of the later mount, and a subpath or an option that we do not say would
be gone. A container whose own filesystem is read-only (`read_only: true`) gets a tmpfs for what is temporary; media would be gone with
it, so they need a volume that only its admin can choose.
"""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers, project, project_override
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import composition
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.disk import read_only_for

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

BY_HAND = "mount %s writable for web and sidekiq in the compose file, then docker compose up -d"


def allow(change: Change, found: list[dict[str, Any]]) -> None:
    """`found`: media.read_only of the facts."""
    services: dict[str, dict[str, list[str]]] = {}
    units = []
    by_hand = BY_HAND % ", ".join(sorted({each["path"] for each in found}))
    base, text = project_override.base_of(change, by_hand)
    for unit in change.units("web", "sidekiq"):
        paths = [each["path"] for each in found if each["unit"] == unit["name"]]
        if not paths:
            continue
        units.append(unit)
        told = services.setdefault(unit["service"], {})
        for path in paths:
            target = _mounted(change, unit, path)
            kind, entry = ("volumes", _writable(base, text, target)) if target else ("tmpfs", _temporary(change, path))
            told[kind] = [*(each for each in told.get(kind, []) if each != entry), entry]
        # Uploads go through it, and nothing but the root tells whether it can be written.
        if "tmpfs" in told and read_only_for(change.host, unit["pid"], "/tmp"):
            told["tmpfs"] = [*(each for each in told["tmpfs"] if each != "/tmp"), "/tmp"]
    if not units:
        return
    change.step["made_writable"] = [[each["unit"], each["path"]] for each in found]
    override = project_override.of_mounts(change, services, base, by_hand)  # before anything is written down
    with project.made_anew(change, units):
        project_override.write(change, override)


def still_read_only(change: Change) -> str:
    for name, path in change.step["made_writable"]:
        pid = containers.unit(change.host, name).get("pid", 0)
        if pid and read_only_for(change.host, pid, path):
            return "%s is still read-only for %s" % (path, name)
    return ""


def _mounted(change: Change, unit: dict[str, Any], path: str) -> str:
    """Where the mount that holds a path of a container is, as the compose file names it; "" where there is none."""
    root = str(change.install["root"])
    # /mastodon is a second name of /opt/mastodon in upstream's image.
    names = [path, "/mastodon" + path[len(root):]] if path.startswith(root + "/") else [path]
    mount = next(filter(None, (composition.mount_of(unit, name) for name in names)), None)
    if mount is None:
        return ""
    if mount["writable"]:
        raise Refused("%s is read-only in %s although it is not mounted so: look at what the mount of %s says in the compose file" % (
            path, unit["name"], mount["path"]))
    return str(mount["path"])


def _writable(base: str, text: str, target: str) -> str:
    """The mount as the compose file says it, without ro; labels for SELinux (z, Z) stay."""
    said = re.findall(r"""([^\s"',\[\]:]{1,500}):%s/?(?::([A-Za-z,]+))?(?=["',\s\]]|\Z)""" % re.escape(target), text)
    sources = {source for source, _options in said}
    if len(sources) != 1 or len(said) != len(re.findall(re.escape(target) + r"(?![\w.-])", text)) or "$" in "".join(sources):
        raise Refused("%s mounts %s otherwise than as SOURCE:PATH:ro with one source and no variable: %s" % (
            base, target, BY_HAND % target))
    kept = sorted({word for _source, options in said for word in options.split(",")} - {"", "ro", "rw"})
    return ":".join([sources.pop(), target, *([",".join(kept)] if kept else [])])


def _temporary(change: Change, path: str) -> str:
    """It gets the mode of the directory that it covers, but not its owner."""
    if path != str(change.install["root"]) + "/tmp":
        raise Refused("%s is in the container itself, which is read-only, and would be gone with it: mount a volume there" % path)
    owner = change.owner()
    return "%s:uid=%d,gid=%d" % (path, owner.uid, owner.gid)
