# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give back to Mastodon's user what it cannot write of its media, and only that: the owner, and the rights that the owner needs.

The app's user may turn the tree round while root walks it, and names its root in a file of his own; what is followed, entered and given
away is decided in `_tree.py` and in `_root`.
"""

from __future__ import annotations

import os
import pwd
import time

from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _media_volume
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.media import TREES
from ansible_collections.fediops.mastodon.plugins.module_utils._tree import Counted, User, give, restore, survey

LISTED = 10  # unwritable paths that the facts tell at most
SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "root", "run", "sbin", "sys", "usr")
UNDO = {"tree": lambda operation, say: restore(operation["list"])}


def fix(change: Change) -> None:
    if change.install.get("storage", "local") != "local":
        raise Refused("media lie in object storage (%s), not on this host; check the permissions of the bucket instead" %
                      change.install["storage"])
    owner = change.owner()
    if owner.uid == 0:
        raise Refused("Mastodon runs as root on this host, whom no permission stops")
    if "compose" in change.install:
        root = _volume(change)
        _give(change, owner, _by_number(owner), _failing(root, _media_volume.failing(change, root)), {root: TREES})
        return
    root = _root(change, owner)
    if not change.exists(root):
        change.make_directory(root, 0o755, owner)
        return
    user = User(owner.uid, owner.gid, frozenset([owner.gid, *os.getgrouplist(owner.user, owner.gid)]))
    roots = _failing(root, [str(each) for each in (change.facts.get("media") or {}).get("unwritable") or []])
    _demand_way_in(root, user, owner)
    _give(change, owner, user, roots, {root: TREES})


def _by_number(owner: Owner) -> User:
    """What this host calls a user or group has nothing to do with those of an image."""
    return User(owner.uid, owner.gid, frozenset([owner.gid]))


def check(change: Change) -> str:
    owner = change.owner()
    if "compose" in change.install:
        root = _volume(change)
        may = _by_number(owner).may(os.stat(root), 3)
        return "" if may else "%d still may not write %s; look for ACLs (getfacl) and read-only mounts" % (owner.uid, root)
    root = os.path.realpath(change.install["media_root"])
    done = change.host.run(["test", "-w", root, "-a", "-x", root], 10.0, owner=owner)
    return "" if done.rc == 0 else "%s still may not write %s; look for ACLs (getfacl) and read-only mounts" % (owner.user, root)


def _give(change: Change, owner: Owner, user: User, roots: list[str], only: dict[str, tuple[str, ...]]) -> None:
    path = None
    if change.journal is not None:
        path = change.journal.step_folder(change.step) + "/tree.json.gz"
    told = [time.monotonic()]

    def seldom(text: str, number: int) -> None:
        if time.monotonic() - told[0] > 5:
            told[0] = time.monotonic()
            change.say(text % number)

    found = survey(roots, only, user, path, lambda number: seldom("looked at %d files", number))
    if not found.directories and not found.files:
        if found.left:
            raise Refused("%s cannot write files that have several names (hard links) and are left alone: %s; look whose they are, then"
                          " chown them by hand" % (owner.user, ", ".join(found.left[:5])))
        return
    if found.left:
        change.say("left alone, because they have several names (hard links): %s" % ", ".join(found.left[:5]))
    if change.before("tree", _what(change, roots, found, owner), list=path):
        changed = give(path or "", user, _primary, lambda number: seldom("changed %d", number))
        change.say("gave %d paths to %s" % (changed, owner.user))


def _what(change: Change, roots: list[str], found: Counted, owner: Owner) -> str:
    were = ", ".join("%s:%s" % (_name(change, uid), change.host.group_name(gid)) for uid, gid in sorted(found.owners))
    return "%s: %d directories and %d files of %s that %s cannot write get him as owner (directories u+rwx, files u+rw)" % (
        ", ".join(roots[:5]) + (" …" if len(roots) > 5 else ""), found.directories, found.files, were, owner.user)


def _name(change: Change, uid: int) -> str:
    user = change.host.user(uid)
    return user.user if user else str(uid)


def _primary(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return -1


def _failing(root: str, paths: list[str]) -> list[str]:
    """The topmost paths that fail; the whole tree when the facts do not tell all of them."""
    if not paths or len(paths) >= LISTED or any(not (each + "/").startswith(root + "/") for each in paths):
        return [root]
    top: list[str] = []
    for path in sorted(paths):
        if not any((path + "/").startswith(each + "/") for each in top):
            top.append(path)
    return top


def _volume(change: Change) -> str:
    """Where docker compose has the volume with media, without links."""
    told = _media_volume.told(change)
    _demand_honest_links(told)
    root = os.path.realpath(told)
    if not _is_below(root, change.install["compose"]["directory"]):
        _demand_not_of_the_system(root, "the volumes of the compose file")
    if not os.path.isdir(root):
        raise Refused("%s, the volume with media, is no directory of this host" % root)
    return root


def _root(change: Change, owner: Owner) -> str:
    """Where media lie, without links, and nothing else than media."""
    told = str(change.install.get("media_root") or "")
    if not told.startswith("/"):
        raise Refused("it is not known where media lie on this host")
    _demand_honest_links(told)
    root = os.path.realpath(told)
    if _is_below(root, change.install["root"]):
        return root
    _demand_not_of_the_system(root, "PAPERCLIP_ROOT_PATH")
    if not os.path.lexists(root):
        above = os.path.dirname(root)
        if getattr(change.host.stat(above), "st_uid", -1) != owner.uid:
            raise Refused("%s, where Mastodon is told to put its media, is not there, and %s is not %s's: mount it, or make it by hand" % (
                root, above, owner.user))
        return root
    foreign = [name for name in change.host.names(root) if name not in (*TREES, "lost+found")
               and getattr(change.host.stat(root + "/" + name, follow=False), "st_uid", -1) != owner.uid]
    if foreign:
        raise Refused("%s holds more than media of Mastodon (%s), so it is not given to %s; make it writable by hand" % (
            root, ", ".join(sorted(foreign)[:5]), owner.user))
    # A name in a file of the app's user must not be all it takes to be given a directory of the system.
    if getattr(change.host.stat(root), "st_uid", -1) != owner.uid and not any(name in TREES for name in change.host.names(root)):
        raise Refused("%s holds nothing of Mastodon's media and is not %s's; if it is right, chown it by hand" % (root, owner.user))
    return root


def _is_below(root: str, directory: str) -> bool:
    above = os.path.realpath(directory)
    return root != above and (root + "/").startswith(above + "/")


def _demand_not_of_the_system(root: str, where: str) -> None:
    parts = root.split("/")[1:]
    if len(parts) < 2 or parts[0] in SYSTEM:
        raise Refused("%s, where Mastodon is told to put its media, is a directory of the system; correct %s" % (root, where))


def _demand_honest_links(path: str) -> None:
    """A link leads only to what its maker owns himself, unless root made it."""
    parts = path.split("/")
    for end in range(2, len(parts) + 1):
        part = "/".join(parts[:end])
        if os.path.islink(part):
            link = os.lstat(part)
            try:
                target = os.stat(part)
            except OSError:
                raise Refused("%s is a link to nothing; mend it by hand" % part) from None
            if link.st_uid not in (0, target.st_uid):
                raise Refused("%s is a link that user %d made to a directory of user %d; make sure that it is right, then chown %s by"
                              " hand" % (part, link.st_uid, target.st_uid, os.path.realpath(part)))


def _demand_way_in(root: str, user: User, owner: Owner) -> None:
    """No owner and mode of the tree helps where the user may not come to it."""
    above = os.path.dirname(root)
    while True:
        status = os.stat(above)
        if not user.may(status, 1):
            raise Refused("%s may not enter %s (mode %04o), so it cannot reach %s; chmod o+x %s if that is right" % (
                owner.user, above, status.st_mode & 0o7777, root, above))
        if above == "/":
            return
        above = os.path.dirname(above)
