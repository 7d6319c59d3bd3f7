# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""allow_writes where docker compose runs Mastodon: what web and Sidekiq must write, mounted so by an override file of ours (private).

A volume that the compose file mounts read-only is mounted writable, from the same source. A container whose own filesystem is read-only
(`read_only: true`) gets a tmpfs for what is temporary; media would be gone with it, so they need a volume that only its admin can choose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import containers, project, project_override
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import composition
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.disk import mount_of, mount_table

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

BY_HAND = "mount %s writable for web and sidekiq in the compose file, then docker compose up -d"


def allow(change: Change, found: list[dict[str, Any]]) -> None:
    """`found`: media.read_only of the facts."""
    services: dict[str, dict[str, list[str]]] = {}
    mounted: set[str] = set()
    units = []
    for unit in change.units("web", "sidekiq"):
        paths = [each["path"] for each in found if each["unit"] == unit["name"]]
        if not paths:
            continue
        units.append(unit)
        told = services.setdefault(unit["service"], {})
        for path in paths:
            volume = _volume(change, unit, path)
            if volume:
                mounted.add(volume["path"])
            kind, entry = ("volumes", _writable(change, volume)) if volume else ("tmpfs", _temporary(change, path))
            told[kind] = [*(each for each in told.get(kind, []) if each != entry), entry]
        # Uploads go through it, and nothing but the root tells whether it can be written.
        if "tmpfs" in told and _read_only(change, unit["pid"], "/tmp"):
            told["tmpfs"] = [*(each for each in told["tmpfs"] if each != "/tmp"), "/tmp"]
    if not units:
        return
    by_hand = BY_HAND % ", ".join(sorted({each["path"] for each in found}))
    override = project_override.of_mounts(change, services, sorted(mounted), by_hand)  # before anything is written down
    with project.made_anew(change, units):
        project_override.write(change, override)


def still_read_only(change: Change) -> str:
    for unit in change.units("web", "sidekiq"):
        pid = containers.unit(change.host, unit["name"]).get("pid", 0)
        for path in (change.install["media_root"], change.install["root"] + "/tmp"):
            if pid and _read_only(change, pid, path):
                return "%s is still read-only for %s" % (path, unit["name"])
    return ""


def _volume(change: Change, unit: dict[str, Any], path: str) -> dict[str, Any] | None:
    """The mount that holds a path of a container; None where there is none."""
    root = str(change.install["root"])
    # /mastodon is a second name of /opt/mastodon in upstream's image.
    names = [path, "/mastodon" + path[len(root):]] if path.startswith(root + "/") else [path]
    mount = next(filter(None, (composition.mount_of(unit, name) for name in names)), None)
    if mount is not None and mount["writable"]:
        raise Refused("%s is read-only in %s although it is not mounted so: look at what the mount of %s says in the compose file" % (
            path, unit["name"], mount["path"]))
    return mount


def _writable(change: Change, mount: dict[str, Any]) -> str:
    """The same mount in the words of a compose file; labels for SELinux (z, Z) stay."""
    source, ours = mount["source"], change.install["compose"]["project"] + "_"
    if mount["type"] != "bind":
        if mount["type"] != "volume" or not mount["name"].startswith(ours):
            raise Refused("the volume of %s is not one of the project %s: %s" % (mount["path"], ours[:-1], BY_HAND % mount["path"]))
        source = mount["name"][len(ours):]
    return ":".join([source, mount["path"], *([",".join(mount["options"])] if mount["options"] else [])])


def _temporary(change: Change, path: str) -> str:
    """It gets the mode of the directory that it covers, but not its owner."""
    if path != str(change.install["root"]) + "/tmp":
        raise Refused("%s is in the container itself, which is read-only, and would be gone with it: mount a volume there" % path)
    owner = change.owner()
    return "%s:uid=%d,gid=%d" % (path, owner.uid, owner.gid)


def _read_only(change: Change, pid: int, path: str) -> bool:
    return mount_of(path, mount_table(change.host.maybe("/proc/%d/mountinfo" % pid, 4 << 20) or ""))[2]
