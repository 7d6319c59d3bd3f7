# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a time service keep the clock: the one that is installed is started, or systemd-timesyncd is installed.

The clock itself is set by that service alone. A container has the clock of its host, so there nothing can be done.
"""

from __future__ import annotations

import time

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils import _clock
from ansible_collections.fediops.mastodon.plugins.module_utils._change import units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _packages

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

UNDO = {"packages": _packages.take_back}
# As Debian, Fedora and SUSE name them; the one that a distribution has by default last, since another was chosen on purpose.
SERVICES = tuple(name + ".service" for name in ("chrony", "chronyd", "ntpsec", "ntp", "ntpd", "openntpd", "systemd-timesyncd"))
DEFAULT = SERVICES[-1]
PACKAGE = "systemd-timesyncd"
INSTALL_SECONDS = 300.0
NO_LISTS = "set a clock far behind once by hand (date -s), no list of packages is valid with it"
SYNCHRONIZED_SECONDS = 90.0


def fix(change: Change) -> None:
    if _clock.synchronized():
        return
    kind = container(change.host)
    if kind:
        raise Refused("this host is a container (%s) and has the clock of the machine it runs on: a time service must keep it there" % kind)
    there = {name: shown for name, shown in _shown(change.host).items() if shown.get("LoadState") in ("loaded", "masked")}
    running = [name for name in there if there[name].get("ActiveState") in ("active", "activating")]
    if running:
        change.restart(running[0])  # asks its servers anew
        return
    usable = [name for name in there if there[name]["LoadState"] == "loaded"]
    if not usable and there:
        raise Refused("%s is masked, so somebody switched it off for good; systemctl unmask it if that is over" % next(iter(there)))
    if not usable:
        if not change.host.exists("/usr/bin/apt-get"):
            raise Refused("no time service is installed, and this fix installs one with apt-get only: install chrony")
        _packages.install(change, [PACKAGE], INSTALL_SECONDS, NO_LISTS)  # which enables it
        usable = [DEFAULT]
    else:
        change.enable(usable[0])
    change.start(usable[0])


def check(change: Change) -> str:
    """Whether the kernel says that somebody keeps its clock; the first answers of the servers take their time."""
    end = time.monotonic() + SYNCHRONIZED_SECONDS
    while _clock.synchronized() is False:
        if time.monotonic() > end:
            return ("no time server has answered within %d s: UDP port 123 must be open outwards; timedatectl timesync-status or "
                    "chronyc sources tells more" % SYNCHRONIZED_SECONDS)
        time.sleep(1.0)
    return ""


def container(host: Host) -> str:
    """docker, lxc …; empty on a machine with a clock of its own. systemd-detect-virt(1) prints "none" there."""
    told = host.run(["systemd-detect-virt", "--container"], 10.0).out.decode("ascii", "replace").strip()
    return "" if told == "none" else told[:40]


def _shown(host: Host) -> dict[str, dict[str, str]]:
    return {name: units.properties(host, name, "LoadState", "ActiveState") for name in SERVICES}
