# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of the units (pure; private, may change any time)."""

from __future__ import annotations

import re

from typing import Any, Mapping, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused

WATCH, DIAGNOSE = "fediops-mastodon-watch", "fediops-mastodon-diagnose"
_HEAD = "# Written by the role fediops.mastodon.monitor; removed with mastodon_monitor_state: absent.\n"
# RuntimeMaxSec= has no effect on Type=oneshot: TimeoutStartSec= is what ends it. ExecStopPost= runs whatever became of the pass, and its +
# takes it out of the sandbox: a mailer or a command of the administrator has to write.
_WATCH = """[Unit]
Description=Watch over Mastodon (fediops.mastodon)
Documentation=https://github.com/fediops/mastodon/blob/main/docs/monitor.md
After=network.target

[Service]
Type=oneshot
ExecStart={python} -I {program} observe
ExecStopPost=+{python} -I {program} deliver
TimeoutStartSec={seconds}
TimeoutStopSec=120
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
CPUWeight=20
MemoryMax={memory}M
MemorySwapMax=0
TasksMax=64
UMask=0077
RuntimeDirectory=fediops.mastodon-monitor
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
ProtectSystem=strict
ReadWritePaths=-/var/lib/fediops.mastodon/monitor{textfile}
ProtectHome=read-only
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces={namespaces}
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service{calls}
SystemCallErrorNumber=EPERM
CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER CAP_SETUID CAP_SETGID CAP_SYS_PTRACE CAP_KILL{capabilities}
"""
# Containers are looked into from within their network and their root (_inside.py).
_CLOSED = {"namespaces": "yes", "calls": "", "capabilities": ""}
_INSIDE = {"namespaces": "net", "calls": " setns chroot", "capabilities": " CAP_SYS_ADMIN CAP_SYS_CHROOT"}
_DIAGNOSE = """[Unit]
Description=Full diagnosis of Mastodon (fediops.mastodon)
Documentation=https://github.com/fediops/mastodon/blob/main/docs/monitor.md
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User={user}
StateDirectory=fediops.mastodon-diagnose
StateDirectoryMode=0700
ExecStart={python} -I {program} schedule
TimeoutStartSec={seconds}
Nice=5
UMask=0077
NoNewPrivileges=yes
"""
_TIMER = """[Unit]
Description={what} (fediops.mastodon)

[Timer]
OnCalendar={calendar}
RandomizedDelaySec={spread}
AccuracySec=10s
Persistent={persistent}

[Install]
WantedBy=timers.target
"""
# Spaces, quotes, % and $ mean something to systemd; nobody's path needs them.
_PATH = re.compile(r"/[A-Za-z0-9._+@:/-]*\Z")
_CALENDAR = re.compile(r"[A-Za-z0-9*:/.,~ +-]{1,100}\Z")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")


def watch(python: str, program: str, options: Mapping[str, Any], contained: bool) -> Tuple[str, str]:
    """Service and timer of the watch. ``contained``: docker compose runs Mastodon."""
    textfile = " -" + path(options["textfile_directory"], "mastodon_monitor_textfile_dir") if options["textfile_directory"] else ""
    # Two looks of 15 s each at the most, the wait between them, and some to start and to write.
    seconds = int(2 * 16 + options["confirm_seconds"] + 30)
    service = _HEAD + _WATCH.format(
        python=path(python, "the path of Python"), program=program, seconds=seconds, memory=int(options["memory_mb"]), textfile=textfile,
        **(_INSIDE if contained else _CLOSED)
    )
    minutes = int(options["interval_minutes"])
    timer = _HEAD + _TIMER.format(
        what="Every %d minutes: watch over Mastodon" % minutes, calendar="*:0/%d" % minutes, spread="20s", persistent="no"
    )
    return service, timer


def diagnose(python: str, program: str, options: Mapping[str, Any]) -> Tuple[str, str]:
    """Service and timer of the full diagnosis."""
    if not _CALENDAR.match(options["schedule"]):
        raise Refused("mastodon_monitor_schedule is a calendar expression of systemd, for example *-*-* 04:30:00")
    if not _USER.match(options["user"]):
        raise Refused("mastodon_monitor_user is not the name of a user")
    service = _HEAD + _DIAGNOSE.format(
        python=path(python, "the path of Python"), program=program, user=options["user"], seconds=int(options["seconds"]) + 120
    )
    return service, _HEAD + _TIMER.format(what="Full diagnosis of Mastodon", calendar=options["schedule"], spread="5min", persistent="yes")


def path(text: str, what: str) -> str:
    """The absolute path, when systemd takes it for nothing else."""
    if not _PATH.match(text):
        raise Refused("%s must be an absolute path of letters, digits and . _ + @ : / -" % what)
    return text
