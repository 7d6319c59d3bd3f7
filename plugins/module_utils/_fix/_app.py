# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several fixes need to work as the app's user, with the PATH and environment that the service has (private, may change any time)."""

from __future__ import annotations

import os
import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError, Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Where the usual version managers put what they switch between; those that only work as shell functions (nvm) are found by the login shell.
SHIMS = (".rbenv/shims", ".rbenv/bin", ".asdf/shims", ".local/share/mise/shims", ".volta/bin", ".local/bin")
# Said to one process by systemd, the shell or Bundler, and wrong for another; jemalloc is for Ruby, and a build is mostly Node.
_OF_THE_PROCESS = re.compile(
    r"^(?:INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_|NOTIFY_|WATCHDOG_|LISTEN_|MEMORY_PRESSURE_|MAINPID|MANAGERPID|CREDENTIALS_|"
    r"RUNTIME_DIRECTORY|STATE_DIRECTORY|CACHE_DIRECTORY|LOGS_DIRECTORY|CONFIGURATION_DIRECTORY|TMPDIR|PWD|OLDPWD|SHLVL|_|TERM|"
    r"BUNDLE|BUNDLER|RUBYOPT|RUBYLIB|GEM_|RBENV_|PUMA_|PORT|BIND|SOCKET|LD_PRELOAD|PATH|HOME|USER|LOGNAME|SHELL|"
    r"RAILS_ENV|NODE_ENV|WEB_CONCURRENCY|MAX_THREADS|MIN_THREADS)")
_NAME = re.compile(r"^[A-Za-z_]\w{0,99}$")


def mastodon(change: Change) -> str:
    """Root of the checkout; Refused where it is not one that files of this host run."""
    install = change.install
    if not install.get("found") or "root" not in install:
        raise Refused("no Mastodon was found on this host; give its directory as mastodon_root")
    if install["deployment"] == "docker":
        raise Refused("Mastodon runs in containers here: their images are built elsewhere and replaced, not repaired")
    root = str(install["root"])
    if not re.match(r"^/[\w./@+-]+$", root):
        raise Refused("the directory of Mastodon has characters in its name that systemd gives a meaning of its own: %s" % root[:100])
    return root


def search_path(host: Host, install: dict[str, Any], owner: Owner) -> str:
    """PATH for commands of the app: what its service uses first, then what its user gets on logging in."""
    places: list[str] = []
    for unit in install.get("units", []):
        if unit["role"] in ("web", "sidekiq") and unit["_argv"] and unit["_argv"][0].startswith("/"):
            places.append(os.path.dirname(unit["_argv"][0]))
    places += [owner.home + "/" + each for each in SHIMS if host.is_dir(owner.home + "/" + each)]
    web = next((unit for unit in install.get("units", []) if unit["role"] == "web"), None)
    places += (web["_env"].get("PATH", "") if web else "").split(":")
    places += _login_path(host, owner).split(":") + DEFAULT_PATH.split(":")
    system = DEFAULT_PATH.split(":")
    chosen = [place for place in dict.fromkeys(places) if place.startswith("/") and place not in system]
    return ":".join(chosen + system)


def _login_path(host: Host, owner: Owner) -> str:
    if owner.uid == 0 or owner.shell.rsplit("/", 1)[-1] not in ("sh", "bash", "dash", "zsh", "ksh"):
        return ""
    identity = {"HOME": owner.home, "USER": owner.user, "LOGNAME": owner.user, "SHELL": owner.shell}
    try:
        done = host.run([owner.shell, "-lc", 'printf "\\n@%s\\n" "$PATH"'], 5.0, 65536, owner, identity)
    except HostError:
        return ""
    found = re.findall(r"(?m)^@([\w./:@+~-]{1,4000})$", done.out.decode("utf-8", "replace"))
    return found[-1] if found and done.rc is not None else ""


def environment(install: dict[str, Any], owner: Owner, path: str) -> dict[str, str]:
    """Environment of a command of the app: that of the web process but for what belongs to the process alone. Holds secrets."""
    units = [unit for unit in install.get("units", []) if not unit["shim"]]
    unit = next((unit for role in ("web", "sidekiq") for unit in units if unit["role"] == role), None)
    own = unit["_env"] if unit else {}
    kept = {key: value for key, value in own.items() if _NAME.match(key) and not _OF_THE_PROCESS.match(key) and "\0" not in value}
    return dict(kept, RAILS_ENV="production", NODE_ENV="production", PATH=path, HOME=owner.home, USER=owner.user, LOGNAME=owner.user,
                LANG="C.UTF-8")


def as_app(owner: Owner, work: Callable[[Host], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Let a process that has become the app's user do this: files in its directories are never touched with root's rights."""
    def become_and_work(host: Host) -> dict[str, Any]:
        host.become(owner)
        try:
            return work(host)
        except OSError as problem:
            raise HostError("%s: %s" % (problem.filename or "a file", os.strerror(problem.errno) if problem.errno else problem)) from None

    outcome = side_by_side({"work": become_and_work}, {"work": time.monotonic() + seconds})["work"]
    if outcome.state != "ok":
        raise HostError(outcome.reason)
    return outcome.facts


def size(text: Any) -> str:
    """1610612736 -> 1.5 GiB."""
    number = float(text)
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return "%.0f %s" % (number, unit)
        number /= 1024
    return "%.1f GiB" % number


def number_of(change: Change, name: str, standard: int, least: int, most: int) -> int:
    """An option that is a whole number; options of a plan are texts."""
    told = change.options.get(name)
    if told in (None, ""):
        return standard
    try:
        number = int(str(told))
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise Refused("%s is a whole number from %d to %d, not %r" % (name, least, most, str(told)[:40]))
    return number
