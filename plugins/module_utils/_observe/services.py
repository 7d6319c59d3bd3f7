# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset services: every unit that matters to Mastodon, found by what it runs and never by a fixed name.

The one place beside _host.py that knows systemd. `discover` finds the units (the subset install builds on it), `observe` adds what
costs more: memory, OOM kills and listening addresses.
"""

from __future__ import annotations

import re
import shlex
import socket
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import composition
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import secrets, shown
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import Redactor

UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator", "/usr/local/lib/systemd/system",
                    "/usr/lib/systemd/system", "/lib/systemd/system")
MAX_UNITS = 60
SHOW_SECONDS = 30.0  # systemd answers at once, but not on a server that is short of processor time; the deadline of the host comes first
MAX_UNIT_FILE_BYTES = 65536
MAX_WORKERS = 32
TICKS_A_SECOND = 100.0  # USER_HZ, the same on every Linux that runs Ruby

PROPERTIES = ("Id", "Type", "RemainAfterExit", "LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "NRestarts", "MainPID",
              "WantedBy", "User", "WorkingDirectory", "Environment", "EnvironmentFiles", "UnsetEnvironment", "StandardOutput",
              "MemoryCurrent", "MemoryMax", "ControlGroup", "ExecStart", "ExecMainCode", "ExecMainStatus", "StateChangeTimestampMonotonic",
              "ExecMainStartTimestampMonotonic", "TimeoutStopUSec")

_SERVERS = {"postgres": "database", "postmaster": "database", "pg_ctlcluster": "database", "pg_ctl": "database",
            "redis-server": "redis", "valkey-server": "redis", "keydb-server": "redis", "pgbouncer": "pooler",
            "nginx": "proxy", "caddy": "proxy", "apache2": "proxy", "apachectl": "proxy", "httpd": "proxy", "haproxy": "proxy"}
_SPANS = {"y": 31557600.0, "month": 2629800.0, "w": 604800.0, "d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_EXIT_CODES = {"1": "exited", "2": "killed", "3": "dumped"}  # CLD_EXITED, CLD_KILLED, CLD_DUMPED of siginfo_t


def role_of(argv: list[str]) -> str:
    """web sidekiq streaming database redis proxy pooler, or empty: what this command line (or process title) runs."""
    if not argv:
        return ""
    first = argv[0].lstrip("-@:+!").rsplit("/", 1)[-1].rstrip(":")
    if first in _SERVERS:
        return _SERVERS[first]
    if first in ("sh", "bash", "dash") and "-c" in argv[1:3] and len(argv) > argv.index("-c") + 1:
        command = re.split(r"[;&|]", argv[argv.index("-c") + 1])[0]
        return role_of([word for word in split_words(command) if word != "exec"])
    words = [word.rsplit("/", 1)[-1] for word in argv[:8]]
    if "prometheus_exporter" in words:
        return ""
    if "sidekiq" in words or "sidekiqswarm" in words:
        return "sidekiq"
    if "puma" in words or first == "puma" or ("rails" in words and ("s" in words or "server" in words)):
        return "web"
    if first in ("node", "nodejs") and any(re.search(r"(^|/)streaming(/index\.js)?/?$", word) for word in argv[1:4]):
        return "streaming"
    return ""


def discover(host: Host) -> list[dict[str, Any]]:
    """Units as dictionaries: the contract's keys, and with a leading underscore what stays on this host (`_env`, `_cgroup`)."""
    if not host.is_dir("/run/systemd/system"):
        return []
    running = _running(host)
    names = _candidates(host) | set(running)
    if not names:
        return []
    command = ["systemctl", "show", "--no-pager", "--property=" + ",".join(PROPERTIES), "--"]
    shown = host.run(command + sorted(names)[:MAX_UNITS], SHOW_SECONDS)
    if shown.rc is None:
        raise HostError("systemctl show gave no answer in time")
    now, monotonic = time.time(), time.monotonic()
    units: list[dict[str, Any]] = []
    for block in shown.out.decode("utf-8", "replace").split("\n\n"):
        properties: dict[str, str] = {}
        for line in block.splitlines():
            name, _equals, value = line.partition("=")
            properties[name] = properties[name] + "\n" + value if name in properties else value  # EnvironmentFiles= stands once a file
        if properties.get("LoadState") in (None, "not-found"):
            continue
        unit = _unit(host, properties, now - monotonic, running.get(properties.get("Id", ""), ""))
        # redis.service is another name of redis-server.service: systemd answers for both with the same Id.
        if unit["role"] and all(unit["name"] != known["name"] for known in units):
            units.append(unit)
    # mastodon-streaming@4000 is disabled itself and started by its shim, which is enabled (dist/ since 4.2).
    starters = {unit["name"] for unit in units if unit["enabled"] == "enabled"}
    for unit in units:
        unit["intended"] = unit["intended"] or not starters.isdisjoint(unit["_wanted_by"])
    return units


def _candidates(host: Host) -> set[str]:
    """Names of units worth asking systemd about: by the text of their files, and by the processes that run."""
    names: set[str] = set()
    templates: set[str] = set()
    listings = {directory: host.names(directory) for directory in UNIT_DIRECTORIES}
    for directory, entries in listings.items():
        for entry in entries:
            if not entry.endswith(".service") or entry in names or entry in templates:
                continue
            text = re.sub(r"\\\n", " ", host.maybe(directory + "/" + entry, MAX_UNIT_FILE_BYTES) or "")
            wanted = re.findall(r"(?m)^\s*(?:Wants|Requires)\s*=(.*)$", text)
            streams = [word for line in wanted for word in line.split() if re.match(r"[\w.-]*streaming[\w.-]*@", word)]
            commands = re.findall(r"(?m)^\s*ExecStart\s*=(.*)$", text)
            if streams or any(role_of(split_words(command)) for command in commands):
                (templates if entry.endswith("@.service") else names).add(entry)
                names.update(streams)
    stems = tuple(template[:-len(".service")] for template in templates)
    if stems:
        for directory, entries in listings.items():
            for entry in entries:
                if entry.endswith((".wants", ".requires")):
                    names.update(name for name in host.names(directory + "/" + entry) if name.startswith(stems))
    return {name for name in names if re.match(r"^[\w:.\\@-]+\.service$", name) and not name.endswith("@.service")}


def _running(host: Host) -> dict[str, str]:
    """Units with a process whose command line tells its role, and that role: whatever wrapper the unit itself starts."""
    found: dict[str, str] = {}
    for pid in host.names("/proc"):
        role = role_of(command_line(host, pid)) if pid.isdigit() else ""
        unit = unit_of(host, pid) if role else ""
        if re.match(r"^[\w:.\\@-]+\.service$", unit):
            found[unit] = role
    return found


def command_line(host: Host, pid: str) -> list[str]:
    """argv of a process; a title written over it (Puma, Sidekiq, PostgreSQL) is split into words. Empty for kernel threads."""
    raw = host.maybe("/proc/%s/cmdline" % pid, 4096) or ""
    words = raw.rstrip("\0").split("\0")
    return words[0].split()[:12] + words[1:12] if words and " " in words[0] else words[:24]


def unit_of(host: Host, pid: str) -> str:
    """The service unit that holds a process, from its control group; empty when none does."""
    found = re.search(r"/([^/\n]+\.service)(?:/|\n|$)", host.maybe("/proc/%s/cgroup" % pid, 16384) or "")
    return found.group(1) if found else ""


def split_words(command: str) -> list[str]:
    """Words of a command line as a shell takes them apart; at blanks where its quotes are broken."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _unit(host: Host, properties: dict[str, str], epoch_of_monotonic: float, running_role: str) -> dict[str, Any]:
    arguments = re.search(r"argv\[\]=(.*?) ; ", properties.get("ExecStart", ""))
    argv = split_words(arguments.group(1)) if arguments else []
    pid = int(properties.get("MainPID", "0") or 0)
    unit: dict[str, Any] = {
        "name": properties["Id"],
        "role": role_of(argv) or running_role or (
            "streaming" if "streaming" in properties["Id"] and properties.get("Type") == "oneshot" else ""),
        "shim": properties.get("Type") == "oneshot" and properties.get("RemainAfterExit") == "yes",
        "load_state": properties.get("LoadState", ""),
        "active_state": properties.get("ActiveState", ""),
        "sub_state": properties.get("SubState", ""),
        "result": properties.get("Result", ""),
        "enabled": properties.get("UnitFileState", ""),
        "restarts": int(properties.get("NRestarts") or 0),
        "user": properties.get("User") or "root",
        "working_directory": properties.get("WorkingDirectory", "").lstrip("-!"),
        "_argv": argv,
        "_cgroup": properties.get("ControlGroup", ""),
        "_wanted_by": properties.get("WantedBy", "").split() if properties.get("UnitFileState") != "masked" else [],
        "_memory": (properties.get("MemoryCurrent", ""), properties.get("MemoryMax", "")),
        "_env": _unit_environment(host, properties),
    }
    # Not intended: a leftover copy of a unit file, the other colour of a blue/green pair, a host for workers only.
    off = unit["active_state"] == "inactive" and unit["result"] == "success" and unit["enabled"] in ("disabled", "masked")
    unit["intended"] = not off
    unit["stop_timeout_seconds"] = time_span(properties.get("TimeoutStopUSec", ""))
    changed = int(properties.get("StateChangeTimestampMonotonic") or 0)
    if changed:
        unit["since_epoch"] = round(epoch_of_monotonic + changed / 1e6, 3)
    started = int(properties.get("ExecMainStartTimestampMonotonic") or 0)
    if started:
        # A hot restart (systemctl reload) keeps the main process but not its workers, and it is they who serve.
        unit["_started_epoch"] = _oldest_worker(host, pid, epoch_of_monotonic) or max(
            epoch_of_monotonic + started / 1e6, unit.get("since_epoch", 0.0))
    code = _EXIT_CODES.get(properties.get("ExecMainCode", ""))
    if code:
        unit["exit_code"] = code
        unit["exit_status"] = int(properties.get("ExecMainStatus") or 0)
    if pid:
        unit["pid"] = pid
        own = host.maybe("/proc/%d/environ" % pid, 1 << 18)
        unit["_env_known"] = own is not None
        # Between fork and exec (often, when a unit fails and is started again and again) the process is still systemd's, with its settings.
        # And a long title (Puma's with the path of a socket) is written over it: then the unit's own settings have to do.
        if own and re.match(r"[A-Za-z_]\w*=", own) and role_of(command_line(host, str(pid))) == unit["role"]:
            unit["_env"] = dict(pair.split("=", 1) for pair in own.split("\0") if "=" in pair)
        if properties.get("StandardOutput") in ("append", "file", "truncate"):
            unit["_standard_output"] = "%s:%s" % (properties["StandardOutput"], host.link("/proc/%d/fd/1" % pid))
    return unit


def time_span(text: str) -> float | None:
    """Seconds of a time as systemctl show prints it (`1min 30s`); None for infinity (systemd.time(7))."""
    parts = re.findall(r"([\d.]+)(y|month|w|d|h|min|s|ms|us)(?![a-z])", text)
    return round(sum(float(number) * _SPANS[span] for number, span in parts), 6) if parts or text == "0" else None


def _children(host: Host, pid: int) -> list[str]:
    return (host.maybe("/proc/%d/task/%d/children" % (pid, pid), 4096) or "").split()


def _oldest_worker(host: Host, pid: int, epoch_of_monotonic: float) -> float:
    """When the oldest child of the process was started; 0 when it has none (field 22 of /proc/PID/stat, in clock ticks since boot)."""
    ticks = [re.sub(r"^.*\) ", "", host.maybe("/proc/%s/stat" % child, 4096) or "").split() for child in _children(host, pid)]
    started = [int(fields[19]) for fields in ticks if len(fields) > 19]
    return epoch_of_monotonic + min(started) / TICKS_A_SECOND if started else 0.0


def _unit_environment(host: Host, properties: dict[str, str]) -> dict[str, str]:
    """Environment= and EnvironmentFile= as systemd merges them: files later in the list win, and win over Environment=."""
    environment = dict(pair.split("=", 1) for pair in split_words(properties.get("Environment", "")) if "=" in pair)
    for path in re.findall(r"(/\S+) \(ignore_errors=\w+\)", properties.get("EnvironmentFiles", "")):
        for line in (host.maybe(path, 1 << 18) or "").splitlines():
            key, equals, value = line.strip().partition("=")
            if equals and re.match(r"^[A-Za-z_]\w*$", key):
                environment[key] = value.strip().strip("'\"")
    for word in split_words(properties.get("UnsetEnvironment", "")):
        name, equals, value = word.partition("=")
        if name in environment and (not equals or environment[name] == value):
            del environment[name]
    return environment


def observe(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """The subset: public facts of the units that discover found (install["units"])."""
    sockets = _listeners(host)
    public = []
    for unit in install["units"]:
        facts = {key: value for key, value in unit.items() if not key.startswith("_")}
        current, most = unit["_memory"]
        if current.isdigit() and int(current) < 1 << 60:
            facts["memory_bytes"] = int(current)
        facts["memory_max_bytes"] = int(most) if most.isdigit() and int(most) < 1 << 60 else None
        facts["oom_kills"] = max(_oom_kills(host, unit["_cgroup"]), int(unit.get("_oom_killed", False)))
        facts["listen"] = _addresses(host, unit, sockets) if "ports" not in unit else [each.partition("->")[0] for each in unit["ports"]]
        if unit["role"] in ("web", "sidekiq", "streaming"):
            facts["settings"] = shown(unit["_env"])
            facts.update(_open_files(host, unit))
        if "health" in facts and unit["_health_test"]:
            facts["health"]["test"] = Redactor(secrets(install)).clean(unit["_health_test"], 200)
        public.append(facts)
    if "compose" in install:
        return {"manager": "compose", "units": public, "compose": composition.observe(host, install)}
    return {"manager": "systemd" if public else "none", "units": public}


def _open_files(host: Host, unit: dict[str, Any]) -> dict[str, float]:
    """Of the main process and its workers, the one that is nearest to its limit: how many files it has open and how many it may have."""
    fullest: tuple[float, int, int] | None = None
    for pid in [str(unit["pid"])] + _children(host, unit["pid"])[:MAX_WORKERS] if "pid" in unit else []:
        limit = re.search(r"(?m)^Max open files +(\d+)", host.maybe("/proc/%s/limits" % pid, 4096) or "")
        number = len(host.names("/proc/%s/fd" % pid, 1 << 20))
        if limit is not None and number:
            most = max(1, int(limit.group(1)))
            fullest = max(fullest or (0.0, 0, 0), (number / most, number, most))
    if fullest is None:
        return {}
    return {"open_files": fullest[1], "open_files_max": fullest[2], "open_files_percent": round(100 * fullest[0], 1)}


def _oom_kills(host: Host, cgroup: str) -> int:
    """Kernel's count for the control group, both versions of the hierarchy; it starts anew whenever the unit is started."""
    if not cgroup or ".." in cgroup:
        return 0
    for path in ("/sys/fs/cgroup%s/memory.events" % cgroup, "/sys/fs/cgroup/memory%s/memory.oom_control" % cgroup):
        found = re.search(r"(?m)^oom_kill (\d+)$", host.maybe(path, 4096) or "")
        if found:
            return int(found.group(1))
    return 0


def _listeners(host: Host) -> dict[str, str]:
    """Inode of every listening socket -> its address (127.0.0.1:3000, [::1]:3000, /run/x.sock)."""
    found: dict[str, str] = {}
    for name in ("tcp", "tcp6"):
        for line in (host.maybe("/proc/net/" + name, 4 << 20) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A":
                raw, _colon, port = fields[1].partition(":")
                found[fields[9]] = "%s:%d" % (_ip(raw), int(port, 16))
    for line in (host.maybe("/proc/net/unix", 4 << 20) or "").splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) == 8 and fields[3] == "00010000" and fields[7].startswith("/"):
            found[fields[6]] = fields[7]
    return found


def _ip(raw: str) -> str:
    data = b"".join(bytes.fromhex(raw[at:at + 8])[::-1] for at in range(0, len(raw), 8))
    return socket.inet_ntop(socket.AF_INET, data) if len(data) == 4 else "[%s]" % socket.inet_ntop(socket.AF_INET6, data)


def _addresses(host: Host, unit: dict[str, Any], sockets: dict[str, str]) -> list[str]:
    """Addresses that the main process of a unit listens on."""
    if "pid" not in unit:
        return []
    base = "/proc/%d/fd" % unit["pid"]
    found = set()
    for name in host.names(base, 4096):
        match = re.match(r"^socket:\[(\d+)\]$", host.link(base + "/" + name))
        if match and match.group(1) in sockets:
            found.add(sockets[match.group(1)])
    return sorted(found)
