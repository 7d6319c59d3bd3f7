# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place beside public/packs and public/assets where new ones are made, and how they take the place of the served ones (private).

`.fediops-assets` in the checkout, on the same filesystem and not below `public`, so never served. All of it belongs to the app's user and
is worked on with that user's rights. What is served is not touched before all is there; the old ones are kept until the run is forgotten.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused, attributes_of
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app, _packs
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

FOLDER = ".fediops-assets"
ENVIRONMENTS = "/run/fediops.mastodon"
_MOVE_SECONDS = 300.0


class Workshop:
    """One place for one step."""

    def __init__(self, change: Change, root: str) -> None:
        self.change = change
        self.root = root
        self.owner = change.owner()
        self.id = "%06d" % secrets.randbelow(10**6)  # digits: letters among them would be redacted as a token
        self.folder = root + "/" + FOLDER
        self.public = "%s/%s-public" % (self.folder, self.id)
        self.unit = "fediops-assets-%s.service" % self.id
        self.environment = "%s/%s.env" % (ENVIRONMENTS, self.unit)

    def require(self, room_bytes: int) -> None:
        """Refused when what is served here cannot be replaced by a rename, or there is no room for a second one."""
        public = self.root + "/public"
        for path in (public, public + "/packs", public + "/assets"):
            if os.path.islink(path) or (os.path.isdir(path) and os.lstat(path).st_dev != os.lstat(self.root).st_dev):
                raise Refused("%s is a link or a filesystem of its own, so it cannot be replaced at once; build into it by hand" % path)
        if not os.path.isdir(public):
            raise Refused("there is no directory %s" % public)
        space = self.change.host.space(public)
        if space is not None and space.f_bavail * space.f_frsize < room_bytes:
            raise Refused("new assets need about %s on the filesystem of %s, where %s are free: make room first (fix reclaim_disk)" % (
                _app.size(room_bytes), public, _app.size(space.f_bavail * space.f_frsize)))
        if space is not None and space.f_files > 0 and space.f_favail < 5000:
            raise Refused("the filesystem of %s has only %d inodes left: make room first (fix reclaim_disk)" % (public, space.f_favail))

    def open(self, what: str) -> bool:
        """Make the place, journaled; False in check mode."""
        served = {name: _inode(self.root + "/public/" + name) for name in _packs.FOLDERS}
        if not self.change.before("workshop", what, folder=self.folder, id=self.id, unit=self.unit, environment=self.environment,
                                  owner=list(self.owner), served=served, stamps=_packs.stamps(self.root)):
            return False

        def make(_host: Host) -> dict[str, Any]:
            if not os.path.isdir(self.folder):
                os.mkdir(self.folder, 0o755)
            if not os.path.exists(self.folder + "/.gitignore"):
                with open(self.folder + "/.gitignore", "w", encoding="ascii") as stream:
                    stream.write("*\n")
            os.mkdir(self.public, 0o755)
            for name in _packs.FOLDERS:
                os.mkdir(self.public + "/" + name, 0o755)
            return {}

        _app.as_app(self.owner, make, _MOVE_SECONDS)
        return True

    def furnish(self) -> list[tuple[str, str]]:
        """Give the place all else that `public` has: small files as copies; (source, place) of the directories to be mounted into it."""
        def copy(_host: Host) -> dict[str, Any]:
            folders = []
            for name in sorted(os.listdir(self.root + "/public")):
                source, target = self.root + "/public/" + name, self.public + "/" + name
                mode = os.lstat(source).st_mode
                if name in _packs.FOLDERS:
                    continue
                if stat.S_ISLNK(mode):
                    os.symlink(os.readlink(source), target)
                elif stat.S_ISDIR(mode):
                    os.mkdir(target)
                    folders.append(name)
                elif stat.S_ISREG(mode) and os.access(source, os.R_OK):
                    shutil.copy2(source, target, follow_symlinks=False)
            return {"folders": folders}

        names = _app.as_app(self.owner, copy, _MOVE_SECONDS)["folders"]
        public = self.root + "/public"
        return [(self.public, public)] + [("%s/%s" % (public, name), "%s/%s" % (public, name)) for name in names]

    def switch(self) -> None:
        """What was made takes the place of what is served; then the place is left behind with the old ones only."""
        made = ["packs", "assets"]
        if not self.change.check_mode:
            made = _app.as_app(self.owner, lambda host: {"made": [name for name in _packs.FOLDERS if os.listdir(self.public + "/" + name)]},
                               _MOVE_SECONDS)["made"]
            for name in made:
                # Where SELinux labels, what nginx may read is a matter of the label.
                served = attributes_of(self.root + "/public/" + name)
                if served is not None and served.context:
                    reference = "--reference=%s/public/%s" % (self.root, name)
                    act(["chcon", "-R", "-h", reference, "%s/%s" % (self.public, name)], 120.0, self.owner)
            _app.as_app(self.owner, lambda host: self._lay_out(made), _MOVE_SECONDS)
        for name in made:
            path = self.root + "/public/" + name
            self.change.make_directory(path, 0o755, self.owner)
            self.change.replace_directory(path, self.kept(name))
        if not self.change.check_mode:
            _app.as_app(self.owner, lambda host: _clear(self.public), _MOVE_SECONDS)

    def kept(self, name: str) -> str:
        return "%s/%s-%s" % (self.folder, self.id, name)

    def _lay_out(self, names: list[str]) -> dict[str, Any]:
        for name in names:
            os.rename(self.public + "/" + name, self.kept(name))
        return {}


def take_back(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """End a build that still runs, and remove what it made; what is served, or was before, is not touched."""
    act(["systemctl", "stop", operation["unit"]], 60.0)
    if os.path.lexists(operation["environment"]):
        os.unlink(operation["environment"])
    owner = Owner(*operation["owner"])
    start = "%s/%s-" % (operation["folder"], operation["id"])

    def remove(_host: Host) -> dict[str, Any]:
        for name in ("public", *_packs.FOLDERS):
            # If the exchange could not be taken back, these are the only old ones there are.
            if _inode(start + name) not in (0, operation["served"].get(name, 0)):
                _clear(start + name)
        # The bundler would remember a build that is not there any more, and call the next one unnecessary.
        for path in operation["stamps"]:
            if os.path.isfile(path):
                os.unlink(path)
        if os.path.isdir(operation["folder"]) and os.listdir(operation["folder"]) == [".gitignore"]:
            _clear(operation["folder"])
        return {}

    _app.as_app(owner, remove, _MOVE_SECONDS)


def _clear(path: str) -> dict[str, Any]:
    if os.path.lexists(path):
        shutil.rmtree(path)
    return {}


def _inode(path: str) -> int:
    return os.lstat(path).st_ino if os.path.lexists(path) else 0


UNDO = {"workshop": take_back}
