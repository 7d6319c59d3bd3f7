# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be deleted without a database: the journal's old files, package caches, rotated logs, old releases (private).

Each finder looks only and gives an Action, or None when nothing is worth it. Never the checkout, never a file that a process has open.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import time

from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._app import size
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._room import Action
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError, Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.install import VERSION_FILE

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

    Has = Callable[[str], bool]

LOGS = "/var/log"
WORTH_BYTES = 1 << 20
JOURNAL_BYTES = 200 << 20
LEAST_JOURNAL_BYTES = 16 << 20
DAY = 86400.0
MAX_FILES = 20000
# As logrotate, Debian's savelog and X name them: a number or date behind the name, perhaps compressed.
_ROTATED = re.compile(r"(?:\.\d{1,3}|-\d{8}(?:-\d+)?|\.log\.old)(?:\.(?:gz|xz|bz2|zst))?$|\.log\.(?:gz|xz|bz2|zst)$")
# Some keep below /var/log, which is a large filesystem on many servers, what nobody can make again.
_NO_LOG = re.compile(r"backup|dump|restic|borg|\.(?:sql|tar|tgz|tbz|txz|zip|db|sqlite\d?)(?:[.-]|$)", re.IGNORECASE)
# Who may have to prove something by them, or whose own tools rotate them.
KEPT_LOGS = ("audit", "journal", "wtmp", "btmp", "lastlog", "installer", "private")
COMMAND_SECONDS = 600.0
PACKAGE_CACHES = (
    (["apt-get", "-q", "-y", "clean"], ("/var/cache/apt/archives/*.deb", "/var/cache/apt/*.bin")),
    (["dnf", "-q", "clean", "packages"], ("/var/cache/dnf/*/packages/*.rpm", "/var/cache/libdnf5/*/packages/*.rpm")),
)


def journal(change: Change, has: Has, keep_bytes: int) -> Action | None:
    """Archived files of the persistent journal; the one that is written to stays."""
    files = [path for path in change.host.glob("/var/log/journal/*/*.journal*") if has(path)]
    sizes = {path: _blocks(path) for path in files}
    archived = [path for path in files if "@" in os.path.basename(path)]
    # Only these are vacuumed and counted (journalctl(1)); the files that are written to come on top.
    total = sum(sizes[path] for path in archived)
    gain = total - keep_bytes
    if gain < WORTH_BYTES:
        return None
    what = "archived journal of systemd: %s, of which the newest %s stay" % (size(total), size(keep_bytes))

    def act() -> None:
        _command(change, ["journalctl", "--quiet", "--vacuum-size=%d" % keep_bytes], what)

    return Action("journal", what, gain, len(archived) * gain // total, act)


def packages(change: Change, has: Has) -> list[Action]:
    """Downloaded packages that were installed long ago."""
    found = []
    for argv, patterns in PACKAGE_CACHES:
        files = [path for pattern in patterns for path in change.host.glob(pattern) if has(path)]
        total = sum(_blocks(path) for path in files)
        if total >= WORTH_BYTES:
            what = "package cache: %d files, %s" % (len(files), size(total))
            found.append(Action("packages", what, total, len(files), functools.partial(_command, change, argv, what)))
    return found


def rotated_logs(change: Change, has: Has) -> Action | None:
    """Rotated logs older than a day below /var/log that no process has open."""
    opened = _open_logs(change)
    files: list[tuple[str, int]] = []
    for folder, folders, names in os.walk(LOGS):
        if folder == LOGS:
            folders[:] = [name for name in folders if name not in KEPT_LOGS]
        folders[:] = [name for name in folders if has(folder + "/" + name) and not os.path.islink(folder + "/" + name)]
        for name in names:
            path = folder + "/" + name
            if not _ROTATED.search(name) or _NO_LOG.search(path[len(LOGS):]) or path in opened:
                continue
            if name.split(".")[0].split("-")[0] in KEPT_LOGS:
                continue
            status = change.host.stat(path, follow=False)
            if status is not None and stat.S_ISREG(status.st_mode) and status.st_mtime < time.time() - DAY and has(path):
                files.append((path, status.st_blocks * 512))
        if len(files) >= MAX_FILES:
            break
    if not files:
        return None
    what = "rotated logs older than a day: %d files, %s" % (len(files), size(sum(each[1] for each in files)))

    def act() -> None:
        if change.before("pruned", what, paths=[path for path, _bytes in files]):
            for path, _bytes in files:
                try:
                    disk.remove(path)
                except FileNotFoundError:
                    continue
                except OSError as problem:
                    change.say("left alone: %s" % problem)  # one that may not be removed (chattr +a) keeps no other

    return Action("rotated_logs", what, sum(each[1] for each in files), len(files), act)


def releases(change: Change, has: Has) -> list[Action]:
    """Old releases beside the one that runs (releases/… of Capistrano), oldest first; the newest of them stays to go back to."""
    root = change.install.get("root")
    if not root or change.install.get("deployment") == "docker":  # then it is a path inside a container
        return []
    real = os.path.realpath(root)
    folder = os.path.dirname(real)
    if os.path.basename(folder) != "releases" or not change.host.exists(os.path.dirname(folder) + "/current"):
        return []
    used = [*_used(change), real, os.path.realpath(os.path.dirname(folder) + "/current"),
            os.path.realpath(str(change.install.get("media_root") or real))]
    old = []
    for name in change.host.names(folder):
        path = folder + "/" + name
        status = change.host.stat(path, follow=False)
        if status is None or not stat.S_ISDIR(status.st_mode) or not has(path) or not change.host.exists(path + "/" + VERSION_FILE):
            continue
        if not any((each + "/").startswith(path + "/") for each in used) and not _holds_uploads(change, path):
            old.append((status.st_mtime, path, status.st_uid))
    found = []
    for _time, path, uid in sorted(old)[:-1]:
        total, _complete = change.host.usage(path, time.monotonic() + 10)
        what = "old release %s, %s" % (path, size(total))
        found.append(Action("releases", what, total, 1000, functools.partial(_remove_tree, change, path, uid, what)))
    return found


def _remove_tree(change: Change, path: str, uid: int, what: str) -> None:
    """As its owner: what he turns round meanwhile, he could have deleted himself."""
    known = change.host.user(uid)
    owner = known or Owner(str(uid), uid, uid, "/", "")
    _command(change, ["rm", "-rf", "--one-file-system", "--", path], what, owner)


def _holds_uploads(change: Change, release: str) -> bool:
    """A release whose uploads are not linked from elsewhere holds the only copy of them."""
    path = release + "/public/system"
    return not os.path.islink(path) and bool(change.host.names(path, 1))


def _used(change: Change) -> list[str]:
    """Directories of this host that a process works in or was started from, or a unit names."""
    found = []
    for pid in change.host.names("/proc"):
        if pid.isdigit():
            found += [change.host.link("/proc/%s/%s" % (pid, name)) for name in ("cwd", "exe", "root")]
    for unit in change.install.get("units", []):
        found += [unit.get("working_directory") or "", *(word for word in unit.get("_argv") or [] if word.startswith("/"))]
    return [os.path.realpath(path) for path in found if path.startswith("/")]


def _open_logs(change: Change) -> set[str]:
    found = set()
    for pid in change.host.names("/proc"):
        if pid.isdigit():
            found |= {change.host.link("/proc/%s/fd/%s" % (pid, name)) for name in change.host.names("/proc/%s/fd" % pid)}
    return {path for path in found if path.startswith(LOGS + "/")}


def _blocks(path: str) -> int:
    try:
        return os.lstat(path).st_blocks * 512
    except OSError:
        return 0


def _command(change: Change, argv: list[str], what: str, owner: Owner | None = None) -> Any:
    """One that fails frees nothing; the next one is tried all the same."""
    try:
        done = change.command(argv, what, COMMAND_SECONDS, owner=owner)
    except HostError as problem:
        change.say(str(problem))
        return None
    if done is not None and done.rc != 0:
        change.say("%s failed: %s" % (argv[0], done.last_line))
    return done
