# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module mastodon_monitor installs: the watch on a host, the full diagnosis by the clock (private, may change any time)."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import sys
import urllib.parse

from typing import Any, Dict, List, Mapping, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import survey
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._watch import bundle, metrics, retention, schedule, store, units
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.channels import LOOPBACK
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.install import File, Installer

PROGRAMS = "/usr/local/lib/fediops-mastodon/"
UNITS = "/etc/systemd/system/"
SCHEDULE_FOLDER = "/var/lib/fediops.mastodon/schedule"
SCHEDULE_STATE = "/var/lib/fediops.mastodon-diagnose"
_ADDRESS = re.compile(r"[A-Za-z0-9_][^\s@<>,;:\"\\]*@[^\s@<>,;:\"\\]+\Z")

Result = Dict[str, Any]


def apply(options: Mapping[str, Any], check_mode: bool) -> Result:
    """Do what the module was asked for: `changed`, `paths`, `diff`, `notes`."""
    if os.geteuid() != 0:
        raise Refused("only root can do this; run with become: true")
    if not os.path.isdir("/run/systemd/system"):
        raise Refused("systemd does not run on this host, and the monitor is a timer of systemd")
    watch = options["part"] == "watch"
    installer = Installer(store.STATE_DIRECTORY if watch else SCHEDULE_FOLDER, units.WATCH if watch else units.DIAGNOSE, check_mode)
    if options["state"] == "absent":
        return _remove(installer, watch)
    notes: List[str] = []
    files, keys = _watch_files(installer, options, notes) if watch else (_schedule_files(options), {})
    changed = installer.install(files, keys)
    timer = installer.name + ".timer"
    if any(path.startswith(UNITS) for path in changed):
        installer.systemctl("daemon-reload")
    if retention.JOURNALD in changed:
        installer.systemctl("try-restart", "systemd-journald.service")
    if retention.DOCKER in changed:
        notes.append("%s limits the logs of new containers once docker was restarted; that is left to you" % retention.DOCKER)
    paths = list(changed)
    if not installer.timer_runs():
        paths.append("unit " + timer)
        installer.systemctl("enable", "--now", timer)
    elif UNITS + timer in changed:
        installer.systemctl("restart", timer)
    return {"changed": bool(paths), "paths": paths, "diff": installer.diff, "notes": notes}


def _remove(installer: Installer, watch: bool) -> Result:
    timer = UNITS + installer.name + ".timer"
    directory = ""
    try:
        directory = store.settings(store.SETTINGS if watch else schedule.SETTINGS).get("textfile_directory", "")
    except HostError:
        pass  # nothing was installed, or not completely
    if os.path.exists(timer):
        installer.systemctl("disable", "--now", installer.name + ".timer")
        installer.systemctl("stop", installer.name + ".service")
    paths = installer.remove()
    leftovers = [store.SPARE_DIRECTORY] if watch else [SCHEDULE_STATE, "/var/lib/systemd/timers/stamp-%s.timer" % installer.name]
    if directory:
        leftovers.append("%s/%s" % (directory, metrics.FILE if watch else schedule.FILE))
    for path in leftovers:
        if os.path.lexists(path):
            paths.append(path)
            if not installer.check_mode:
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    if any(path.startswith(UNITS) for path in paths):
        installer.systemctl("daemon-reload")
        if not installer.check_mode:
            installer.host.run(["systemctl", "reset-failed", installer.name + ".service"])  # fails when there is nothing to forget
    if retention.JOURNALD in paths:
        installer.systemctl("try-restart", "systemd-journald.service")
    return {"changed": bool(paths), "paths": paths, "diff": installer.diff, "notes": []}


def _watch_files(installer: Installer, options: Mapping[str, Any], notes: List[str]) -> Tuple[Dict[str, File], Dict[str, List[str]]]:
    program = PROGRAMS + "watch.pyz"
    ground = survey(["install"], 15.0, 60.0, options["root"], {})[1]
    service, timer = units.watch(sys.executable, program, options, "compose" in ground)
    channels, secrets = _channels(options)
    directory = options["textfile_directory"]
    if directory and not os.path.isdir(directory):
        raise Refused(
            "mastodon_monitor_textfile_dir %s is not a directory of this host; give that of node_exporter "
            "(--collector.textfile.directory)" % directory
        )
    settings = {
        "root": options["root"],
        "confirm_seconds": options["confirm_seconds"],
        "clear_passes": options["clear_passes"],
        "limits": options["limits"],
        "channels": channels,
        "textfile_directory": directory,
    }
    files = {
        program: File(bundle.build()),
        UNITS + units.WATCH + ".service": _file(service),
        UNITS + units.WATCH + ".timer": _file(timer),
        store.SETTINGS: _file(_json(settings)),
        store.CATALOGUE: _file(_json(options["catalogue"])),
    }
    if secrets:
        files[store.SECRETS] = File(_json(secrets).encode(), 0o600)
    if ground["deployment"] == "docker" and "compose" not in ground:
        notes.append("Mastodon runs in containers here: only the disk is watched, for no docker compose made them")
    elif not ground["found"]:
        notes.append("no Mastodon was found on this host: its disk and the services that Mastodon may use are watched")
    keys = _retention(installer, options, ground, files, notes)
    return files, keys


def _retention(
    installer: Installer, options: Mapping[str, Any], ground: Dict[str, Any], files: Dict[str, File], notes: List[str]
) -> Dict[str, List[str]]:
    host = installer.host
    keys: Dict[str, List[str]] = {}
    if options["journal_percent"] > 0:
        text, why = retention.journald(host, options["journal_percent"])
        if text is not None:
            files[retention.JOURNALD] = _file(text)
        notes += [why] if why else []
    if options["container_logs_percent"] > 0 and ground["deployment"] == "docker":
        space = host.space("/var/lib/docker") or host.space("/var/lib")
        size = space.f_blocks * space.f_frsize if space is not None else 0
        text, added, why = retention.docker(installer.text_without_us(retention.DOCKER), size, options["container_logs_percent"])
        if text is not None:
            status = host.stat(retention.DOCKER)
            files[retention.DOCKER] = File(text.encode("utf-8", "surrogateescape"), status.st_mode & 0o7777 if status else 0o644)
            keys[retention.DOCKER] = added
        notes += [why] if why else []
    if options["rotate_files"]:
        text, why = retention.logrotate(host, ground)
        if text is not None:
            files[retention.LOGROTATE] = _file(text)
        elif "grow" in why:
            notes.append(why)
    return keys


def _schedule_files(options: Mapping[str, Any]) -> Dict[str, File]:
    program = PROGRAMS + "diagnose.pyz"
    service, timer = units.diagnose(sys.executable, program, options)
    try:
        user = pwd.getpwnam(options["user"])
    except KeyError:
        raise Refused("there is no user %s on this host (mastodon_monitor_user)" % options["user"]) from None
    for key, what in (("inventory", "mastodon_monitor_inventory"), ("ansible_playbook", "mastodon_monitor_ansible_playbook")):
        if not os.path.exists(options[key]):
            raise Refused("%s %s does not exist on this host" % (what, options[key] or "(empty)"))
    channels, secrets = _channels(options)
    settings = {
        key: options[key]
        for key in (
            "ansible_playbook",
            "playbook",
            "inventory",
            "arguments",
            "variables",
            "environment",
            "project_directory",
            "keep",
            "seconds",
            "clear_passes",
            "textfile_directory",
        )
    }
    settings.update(directory=SCHEDULE_STATE, channels=channels)
    # Settings may hold what belongs to that user alone, such as the names of hosts.
    files = {
        program: File(bundle.build()),
        UNITS + units.DIAGNOSE + ".service": _file(service),
        UNITS + units.DIAGNOSE + ".timer": _file(timer),
        schedule.SETTINGS: File(_json(settings).encode(), 0o600, user.pw_uid, user.pw_gid),
    }
    if secrets:
        files[schedule.SECRETS] = File(_json(secrets).encode(), 0o600, user.pw_uid, user.pw_gid)
    return files


def _channels(options: Mapping[str, Any]) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """Channels without and with their secrets, checked: what is wrong is said now, not in the night of the first alert."""
    channels: Dict[str, Any] = {}
    secrets: Dict[str, str] = {}
    if options["command"]:
        if not options["command"][0].startswith("/"):
            raise Refused("mastodon_monitor_command begins with the absolute path of a program")
        if not os.access(options["command"][0], os.X_OK):
            raise Refused("mastodon_monitor_command: there is no program %s on this host" % options["command"][0])
        channels["command"] = list(options["command"])
    mail = options["mail"]
    if mail and mail["to"]:
        if not mail["from"]:
            raise Refused("mastodon_monitor_mail: from is missing, the address of the sender that your mail server lets this host use")
        for address in [mail["from"], *mail["to"]]:
            if not _ADDRESS.match(address or ""):
                raise Refused("mastodon_monitor_mail: %r is not a mail address" % (address or ""))
        if not mail["smtp_host"] and not os.access(mail["sendmail"], os.X_OK):
            raise Refused("mastodon_monitor_mail: there is no %s on this host; install a mailer or give smtp_host" % mail["sendmail"])
        channels["mail"] = {key: value for key, value in mail.items() if key != "smtp_password"}
        if mail["smtp_password"]:
            if mail["smtp_tls"] == "none" and mail["smtp_host"] not in LOOPBACK:
                raise Refused("mastodon_monitor_mail: a password is sent over TLS only; set smtp_tls to starttls or tls")
            secrets["smtp_password"] = mail["smtp_password"]
    webhook = options["webhook"]
    if webhook and webhook["url"]:
        address = urllib.parse.urlsplit(webhook["url"])
        if not address.hostname or address.scheme != "https" and (address.scheme != "http" or address.hostname not in LOOPBACK):
            raise Refused("mastodon_monitor_webhook: the url must begin with https:// (http:// only for this host itself)")
        channels["webhook"] = {"ca_file": webhook["ca_file"]}
        secrets["webhook_url"] = webhook["url"]
        if webhook["token"]:
            secrets["webhook_token"] = webhook["token"]
    return channels, secrets


def _file(text: str) -> File:
    return File(text.encode("utf-8", "surrogateescape"))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
