# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs that must not fill the disk: the journal, containers, files (private, may change any time).

Nothing that an administrator decided is overruled: a limit that is already set stays.
"""

from __future__ import annotations

import json
import re

from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

JOURNALD = "/etc/systemd/journald.conf.d/60-fediops-mastodon.conf"
DOCKER = "/etc/docker/daemon.json"
LOGROTATE = "/etc/logrotate.d/fediops-mastodon"
MIB = 1 << 20
LEAST_BYTES, MOST_BYTES = 128 * MIB, 4096 * MIB
CONTAINERS = 8  # web, sidekiq, streaming, database, redis, proxy and room for two more
FILES_PER_CONTAINER = 3
_HEAD = "# Written by the role fediops.mastodon.monitor; removed with mastodon_monitor_state: absent.\n"
_SECTION = re.compile(r"^\s*\[(\w+)\]")
_LIMIT = re.compile(r"^\s*SystemMaxUse\s*=\s*(\S+)")
# What logrotate would take for something else than a name.
_STRANGE = re.compile(r"[\s\"'{}*?\[\]\\#]|[^\x21-\x7e]")


def share(size_bytes: int, percent: float) -> int:
    """That share of a filesystem in whole MiB, within sensible bounds and never more than a tenth of it."""
    wanted = max(LEAST_BYTES, min(MOST_BYTES, int(size_bytes * percent / 100)))
    return max(8, min(wanted, size_bytes // 10) // MIB)


def journald(host: Host, percent: float) -> Tuple[Optional[str], str]:
    """The drop-in, or None with the reason why there is none."""
    set_by = _limited_by(host)
    if set_by:
        return None, "the journal is limited already by SystemMaxUse in %s" % set_by
    space = host.space("/var/log/journal") or host.space("/var/log")
    if space is None or not space.f_blocks:
        return None, "the filesystem of /var/log could not be measured"
    return _HEAD + "[Journal]\nSystemMaxUse=%dM\n" % share(space.f_blocks * space.f_frsize, percent), ""


def _limited_by(host: Host) -> str:
    """File that sets the limit and is not ours; empty when none does."""
    found = ""
    paths = ["/usr/lib/systemd/journald.conf", "/etc/systemd/journald.conf"]
    for directory in ("/usr/lib", "/usr/local/lib", "/run", "/etc"):
        paths += host.glob(directory + "/systemd/journald.conf.d/*.conf")
    for path in paths:
        section = ""
        for line in (host.maybe(path) or "").splitlines() if path != JOURNALD else ():
            head = _SECTION.match(line)
            section = head.group(1) if head else section
            if section == "Journal" and _LIMIT.match(line):
                found = path
    return found


def docker(text: Optional[str], size_bytes: int, percent: float) -> Tuple[Optional[str], List[str], str]:
    """daemon.json with a limit for containers that have none: (new text or None, keys of log-opts added, why not)."""
    settings: Any = {}
    if text is not None and text.strip():
        try:
            settings = json.loads(text)
        except ValueError:
            raise Refused("%s is not valid JSON; mend it first, docker would not start with it either" % DOCKER) from None
        if not isinstance(settings, dict) or not isinstance(settings.get("log-opts", {}), dict):
            raise Refused("%s is not an object with log-opts as an object" % DOCKER)
    driver = settings.get("log-driver", "json-file")
    if driver not in ("json-file", "local"):
        return None, [], "containers log by the driver %s, which docker does not rotate" % driver
    options = settings.get("log-opts", {})
    if "max-size" in options:
        return None, [], "%s limits the logs of containers already" % DOCKER
    each = max(1, share(size_bytes, percent) // (CONTAINERS * FILES_PER_CONTAINER))
    added = {"max-size": "%dm" % each}
    if "max-file" not in options:
        added["max-file"] = str(FILES_PER_CONTAINER)
    merged = dict(settings, **{"log-opts": dict(options, **added)})
    return json.dumps(merged, indent=_indent(text)) + "\n", sorted(added), ""


def docker_without(text: str, keys: List[str]) -> str:
    """daemon.json without the limit again, when somebody changed other things in it meanwhile."""
    try:
        settings = json.loads(text)
    except ValueError:
        return text
    options = settings.get("log-opts") if isinstance(settings, dict) else None
    if not isinstance(options, dict):
        return text
    rest = {key: value for key, value in options.items() if key not in keys}
    settings = {key: (rest if key == "log-opts" else value) for key, value in settings.items() if key != "log-opts" or rest}
    return json.dumps(settings, indent=_indent(text)) + "\n"


def _indent(text: Optional[str]) -> int:
    found = re.search(r"\n( +)\"", text or "")
    return len(found.group(1)) if found else 2


def log_files(host: Host, install: Mapping[str, Any]) -> List[str]:
    """Files that something still writes: log/*.log of the checkout, and what StandardOutput= of a unit of Mastodon names."""
    found = []
    ours = host.maybe(LOGROTATE) or ""  # a file that was just emptied by our own rotation goes on being rotated
    if install.get("found") and install.get("deployment") == "systemd":
        for path in host.glob(install["root"] + "/log/*.log"):
            status = host.stat(path, follow=False)
            if status is not None and (status.st_size > 0 or path in ours):
                found.append(path)
    for unit in install.get("units", ()):
        if unit["role"] in ("web", "sidekiq", "streaming"):
            for key in ("_standard_output", "_standard_error"):
                kind, _colon, path = str(unit.get(key) or "").partition(":")
                # "truncate" starts anew by itself.
                if kind in ("append", "file") and host.exists(path):
                    found.append(path)
    return [path for path in dict.fromkeys(found) if not _STRANGE.search(path)][:50]


def logrotate(host: Host, install: Mapping[str, Any]) -> Tuple[Optional[str], str]:
    """Rotation for files that nobody rotates yet, or None with the reason."""
    files = log_files(host, install)
    if not files:
        return None, "nothing of Mastodon writes log files here"
    if not host.exists("/usr/sbin/logrotate") and not host.exists("/usr/bin/logrotate"):
        return None, "logrotate is not installed, and these files grow: %s" % ", ".join(files[:5])
    known = "\n".join(host.maybe(path) or "" for path in ["/etc/logrotate.conf", *host.glob("/etc/logrotate.d/*")] if path != LOGROTATE)
    blocks: Dict[Tuple[str, str], List[str]] = {}
    for path in files:
        directory = path.rsplit("/", 1)[0]
        if path in known or directory + "/*" in known:
            continue
        status = host.stat(directory)
        owner = host.user(status.st_uid) if status is not None else None
        if status is None or owner is None:
            continue
        blocks.setdefault((owner.user, host.group_name(status.st_gid)), []).append(path)
    if not blocks:
        return None, "logrotate takes care of the log files already"
    return _HEAD + "".join(_rotation(user, group, paths) for (user, group), paths in sorted(blocks.items())), ""


def _rotation(user: str, group: str, paths: List[str]) -> str:
    """copytruncate: whoever patched Mastodon to write a file never told it to open a new one. As the owner of the folder, not as root."""
    rules = [
        "su %s %s" % (user, group),
        "weekly",
        "maxsize 100M",
        "rotate 4",
        "missingok",
        "notifempty",
        "compress",
        "delaycompress",
        "copytruncate",
    ]
    return "\n".join(paths) + " {\n" + "".join("    %s\n" % rule for rule in rules) + "}\n"
