# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ReadWritePaths= for what the sandbox of web and Sidekiq keeps Mastodon from writing (docs.joinmastodon.org/admin/troubleshooting).

Exactly the paths that were found read-only in the processes, never a parent of them. A path may vanish later (a disk that is not mounted):
the `-` before it makes that an error of uploads and not a site that cannot start at all.
"""

from __future__ import annotations

from ansible_collections.fediops.mastodon.plugins.module_utils._change import drop_in, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _container_writes
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.disk import read_only_for

TOPIC = "writes"
# What nobody may open to a web application, whatever the settings call it.
NEVER = ("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var")


def fix(change: Change) -> None:
    found = change.facts.get("media", {}).get("read_only")
    if found is None:
        raise Refused("it is not known which paths the services cannot write: %s" % (
            change.facts.get("probes", {}).get("media", {}).get("reason") or "media lie in object storage"))
    for each in found:
        if each["host_read_only"]:
            raise Refused("the filesystem of %s is mounted read-only on the host itself: look for disk errors with dmesg and at /etc/fstab"
                          % each["path"])
        if each["path"] in NEVER or not each["path"].startswith("/"):
            raise Refused("%s is not opened to a service; move the media to a directory of their own (PAPERCLIP_ROOT_PATH)" % each["path"])
    if "compose" in change.install:
        _container_writes.allow(change, found)
        return
    every = sorted({each["path"] for each in found})
    for unit in change.units("web", "sidekiq"):
        # One that does not run has no mount namespace to look into, but the same sandbox as those that do.
        paths = sorted({each["path"] for each in found if each["unit"] == unit["name"]}) if "pid" in unit else every
        lines = drop_in.lines_of(change, unit["name"], TOPIC)
        lines += [line for line in (_line(path) for path in paths) if line not in lines]
        if not paths or not (unit["intended"] or "pid" in unit):
            continue
        # A drop-in that says so already and is not in effect: the unit was not restarted since.
        if drop_in.write(change, unit["name"], TOPIC, lines) or "pid" in unit:
            change.reload_units()
            change.restart(unit["name"])


def _line(path: str) -> str:
    return "ReadWritePaths=" + drop_in.quoted("-" + path)


def check(change: Change) -> str:
    install = change.install
    if "compose" in install:
        return _container_writes.still_read_only(change)
    for unit in change.step["services"].get("restart", []):
        pid = units.properties(change.host, unit, "MainPID").get("MainPID", "0")
        for path in (install["media_root"], install["root"] + "/tmp"):
            real = change.host.real(path)
            if change.host.is_dir(real) and read_only_for(change.host, pid, real):
                return "%s is still read-only for %s" % (real, unit)
    return ""
