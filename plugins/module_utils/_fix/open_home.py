# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let nginx pass through the directories before Mastodon's static files: the one x that is missing on each, and nothing else.

The closed door may be all that kept strangers from files that everybody may read: .env.production and its like lose that right first.
"""

from __future__ import annotations

import os
import stat

from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._nginx import load
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import proxy, proxy_site

ACCESS_LIST = "system.posix_acl_access"


def fix(change: Change) -> None:
    user, path = _who_and_where(change)
    shut = proxy_site.closed(change.host, user, path)
    if not shut:
        return
    owner = _holder(change)
    groups = frozenset(os.getgrouplist(user.user, user.gid))
    for folder in shut:
        _demand_ours(change, folder, owner, user)
    _keep_secrets(change, owner, user, groups)
    for folder in shut:
        status = os.lstat(folder)
        shift = 3 if status.st_gid in groups else 0
        change.attributes(folder, mode=stat.S_IMODE(status.st_mode) | 1 << shift)


def check(change: Change) -> str:
    user, path = _who_and_where(change)
    shut = proxy_site.closed(change.host, user, path)
    if shut:
        return "%s still may not enter %s; look for SELinux (ausearch -m avc -ts recent) and access lists (getfacl)" % (user.user, shut[0])
    for name in _secret_files(change):
        if change.host.run(["test", "-r", name], 5.0, 4096, user).rc == 0:
            return "%s may read %s, which only Mastodon may" % (user.user, name)
    return ""


def _who_and_where(change: Change) -> tuple[Owner, str]:
    """The user that nginx reads files as, and the folder of static files without links."""
    root = load(proxy.MAIN_FILE, lambda path: change.host.maybe(path, 1 << 19), change.host.glob)
    path = proxy_site.public_of(change.install, proxy.mastodon_servers(root, change.install))
    user = proxy_site.worker(change.host, change.install, root)
    if not path or user is None:
        raise Refused("nginx of this host serves no files of %s, or it is not known as whom; namei -l on its path shows what is closed" % (
            proxy_site.checkout_of(change.install) or "a checkout"))
    return user, os.path.realpath(path)


def _holder(change: Change) -> Owner:
    """Whose the directories are: of him that Mastodon runs as, or where a container does that, of him that has the compose project."""
    if change.install.get("deployment") != "docker":
        return change.owner()
    status = os.lstat(proxy_site.checkout_of(change.install))
    return change.host.user(status.st_uid) or Owner(str(status.st_uid), status.st_uid, status.st_gid, "/", "")


def _demand_ours(change: Change, folder: str, owner: Owner, user: Owner) -> None:
    status = os.lstat(folder)
    root = os.path.realpath(proxy_site.checkout_of(change.install))
    outside = owner.uid == 0 and not (folder + "/").startswith(root + "/")  # root's are also /root and the like
    if status.st_uid != owner.uid or outside:
        raise Refused("%s, which %s may not enter, is not %s's; if it may pass there: chmod o+x %s" % (
            folder, user.user, owner.user, folder))
    try:
        listed = ACCESS_LIST in os.listxattr(folder)
    except OSError:
        listed = False  # a filesystem without access lists
    if listed:
        raise Refused("%s has an access list, which decides instead of its mode; setfacl -m u:%s:x %s" % (folder, user.user, folder))


def _secret_files(change: Change) -> list[str]:
    root = proxy_site.checkout_of(change.install)
    return [root + "/" + name for name in sorted(change.host.names(root)) if name.startswith(".env") and name != ".env.production.sample"
            and stat.S_ISREG(getattr(change.host.stat(root + "/" + name, follow=False), "st_mode", 0))]


def _keep_secrets(change: Change, owner: Owner, user: Owner, groups: frozenset[int]) -> None:
    for name in _secret_files(change):
        status = os.lstat(name)
        if status.st_gid in groups:
            if status.st_mode & stat.S_IRGRP:
                raise Refused("%s is in the group %s, which may read %s; take it out of that group first" % (
                    user.user, change.host.group_name(status.st_gid), name))
        elif status.st_mode & stat.S_IRWXO:
            if status.st_uid != owner.uid:
                raise Refused("everybody who can get there may read %s, and it is not %s's; chown it to him and chmod 640 it first" % (
                    name, owner.user))
            change.attributes(name, mode=stat.S_IMODE(status.st_mode) & ~stat.S_IRWXO)
