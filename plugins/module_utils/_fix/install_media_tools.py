# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install or repair the programs and libraries that Mastodon makes thumbnails with, as its release needs them."""

from __future__ import annotations

import os
import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app, _packages
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import media
from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import side_by_side

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

UNDO = {"packages": _packages.take_back}
SECONDS = 900
# Tool -> (package to install, names of packages that bring it in some release).
PACKAGES = {
    "ffmpeg": (("ffmpeg",), r"^ffmpeg$"),
    "ffprobe": (("ffmpeg",), r"^ffmpeg$"),
    "convert": (("imagemagick",), r"^imagemagick(?:-[67]\.q16(?:hdri)?)?$"),
    "identify": (("imagemagick",), r"^imagemagick(?:-[67]\.q16(?:hdri)?)?$"),
    "libvips.so.42": (("libvips42t64", "libvips42"), r"^libvips42(?:t64)?$"),
}
# Others name them otherwise, and ffmpeg is not in every archive of theirs.
ELSEWHERE = {"ffmpeg": "ffmpeg (Fedora: ffmpeg-free)", "imagemagick": "ImageMagick", "libvips42t64": "vips"}
OFF_THE_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/opt/ffmpeg/bin", "/opt/ffmpeg", "/usr/lib/ffmpeg/bin", "/snap/bin")


def fix(change: Change) -> None:
    """Option deadline_seconds."""
    seconds = _app.number_of(change, "deadline_seconds", SECONDS, 60, 7200)
    _app.mastodon(change)
    tools = change.facts.get("media", {}).get("tools")
    if tools is None:
        raise Refused("the media tools of this host could not be looked at: %s" % (
            change.facts.get("probes", {}).get("media", {}).get("reason") or "the subset media gave no facts"))
    broken = [tool for tool in tools if tool["required"] and not tool["works"]]
    if not broken:
        return
    for tool in broken:
        _refuse_settings(change, tool)
    if not (change.host.exists("/usr/bin/apt-get") and change.host.exists("/usr/bin/dpkg-query")):
        names = dict.fromkeys(ELSEWHERE[PACKAGES[tool["name"]][0][0]] for tool in broken)
        raise Refused("this fix installs with apt-get, which this host does not have: install %s with its own package manager" % (
            ", ".join(names)))
    _packages.install(change, _wanted(change, broken), float(seconds))
    if not change.check_mode:
        _require_seen(change)
    if any(tool["name"].startswith("lib") for tool in broken):
        # A library is loaded when the process starts; programs are looked for each time.
        for unit in change.units("web", "sidekiq"):
            change.restart(unit["name"])


def _refuse_settings(change: Change, tool: dict[str, Any]) -> None:
    """What is installed but not found, or named by a setting, no package can help."""
    key = {"ffmpeg": "FFMPEG_BINARY", "ffprobe": "FFPROBE_BINARY"}.get(tool["name"], "")
    settings = change.install["_environment"]
    if settings.get(key):
        raise Refused("%s is set and does not lead to a program that works; correct or remove it in .env.production or the unit" % key)
    if tool["found"] or tool["name"].startswith("lib"):
        return
    search = (settings.get("PATH") or media.DEFAULT_PATH).split(":")
    owner = change.owner()
    places = [place for place in (*OFF_THE_PATH, owner.home + "/bin", owner.home + "/.local/bin") if place not in search]
    there = next((place + "/" + tool["name"] for place in places if change.host.is_executable(place + "/" + tool["name"])), "")
    if there:
        raise Refused("%s is installed as %s, which is not on the PATH of the service (%s): add the directory to Environment=PATH=… of the "
                      "units, or set PATH right where it is set" % (tool["name"], there, ":".join(search)[:300]))


def _wanted(change: Change, broken: list[dict[str, Any]]) -> list[str]:
    """Packages to install, or to install again where their files are gone."""
    there = [name for name, state in _packages.installed(change.host).items() if state == "ii"]
    wanted: list[str] = []
    for tool in broken:
        names, family = PACKAGES[tool["name"]]
        members = [name for name in there if re.match(family, name)]
        library = re.search(r"shared libraries: (lib[\w.+-]+\.so[\w.]*)", tool.get("error", ""))
        lost = _packages.package_with(change.host, library.group(1)) if library else ""
        if lost:
            wanted.append(lost)
        elif members:
            wanted += members
        else:
            wanted.append(next((name for name in names if not _packages.rehearse(change.host, [name]).trouble), names[0]))
    return list(dict.fromkeys(wanted))


def _require_seen(change: Change) -> None:
    """As the service sees them: its PATH, its user, and the file system of its own process."""
    outcome = side_by_side({"media": lambda host: media.observe(host, change.install)}, {"media": time.monotonic() + 60.0})["media"]
    if outcome.state != "ok":
        raise HostError("whether the tools work now could not be seen: %s" % outcome.reason)
    for tool in outcome.facts["tools"]:
        if tool["required"] and not tool["works"]:
            raise HostError("%s still does not work: %s" % (tool["name"], tool.get("error") or "it is not on the PATH of the service"))
        for unit in change.units("web", "sidekiq"):
            top = "/proc/%d/root" % unit.get("pid", 0)
            if os.path.isdir(top + "/") and not os.path.exists(top + os.path.realpath(tool["path"])):
                raise HostError("%s is hidden from %s by the sandbox of its unit" % (tool["path"], unit["name"]))


def check(change: Change) -> str:
    """Whether the tools work now."""
    try:
        _require_seen(change)
    except HostError as problem:
        return str(problem)
    return ""
