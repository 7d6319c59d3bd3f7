# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Mastodon that docker compose runs: its containers, found by compose's labels whatever the project is called, described as units.

Both generations of compose write the labels (1.29 with `_` in the names of containers, 2 with `-`); a container of `compose run` is no
service and left out. Source: https://docs.docker.com/reference/compose-file/ and the code of compose (labels com.docker.compose.*).
"""

from __future__ import annotations

import calendar
import json
import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils import _engine
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.fediops.mastodon.plugins.module_utils._engine import Engine

LABEL = "com.docker.compose."
APP_ROLES = ("web", "sidekiq", "streaming")
VERSION_FILE = "lib/mastodon/version.rb"
MAX_CONTAINERS = 60
BOOT_SECONDS = 90.0
ENGINE_STOP_SECONDS = 10  # before it kills, without a stop_grace_period (docs.docker.com/reference/cli/docker/container/stop)
_WRAPPERS = ("tini", "dumb-init", "docker-init", "docker-entrypoint.sh", "docker_entrypoint.sh", "entrypoint.sh", "env", "nice", "--")
# 143 is the end that SIGTERM brings: what `docker stop` sends first, and systemd too takes for a clean one.
_CLEAN = (0, 143)
_STATES = {"running": ("active", "running"), "paused": ("active", "paused"), "restarting": ("activating", "auto-restart"),
           "created": ("inactive", "created"), "removing": ("deactivating", "removing"), "dead": ("failed", "dead")}
_VERSION = re.compile(r"(?<![\d.])v?(\d+\.\d+\.\d+[\w.+-]*)")


def discover(host: Host, option: str, searched: list[str]) -> dict[str, Any] | None:
    """The project that runs Mastodon: {project, directory, files, compose, socket, root, units, version_file}; None without one.

    `option`: mastodon_root, which may name the project's directory. HostError when the engine cannot be asked.
    """
    searched.append("containers of docker compose, by their labels")
    socket = _engine.find(host)
    if not socket:
        return None
    engine = _engine.at(host, socket)
    wanted = json.dumps({"label": [LABEL + "project"]})
    projects: dict[str, list[dict[str, Any]]] = {}
    for each in engine.get("/containers/json", all="1", filters=wanted)[:MAX_CONTAINERS * 4]:
        labels = each.get("Labels") or {}
        if str(labels.get(LABEL + "oneoff", "False")).lower() != "true":
            projects.setdefault(str(labels[LABEL + "project"]), []).append(each)
    candidates = [found for found in (_project(host, engine, name, each) for name, each in sorted(projects.items())) if found]
    chosen = [each for each in candidates if option and host.real(each["directory"]) == host.real(option)] or ([] if option else candidates)
    if len(chosen) > 1:
        searched.append("several projects run Mastodon (%s); mastodon_root, a project's directory, chooses another" % ", ".join(
            each["project"] for each in chosen))
    # One that runs before one that lies there stopped.
    found = min(chosen, key=lambda each: not any("pid" in unit for unit in each["units"]), default=None)
    if found is not None:
        found["socket"] = socket
    return found


def _project(host: Host, engine: Engine, name: str, listed: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The project as above when its containers are those of a Mastodon."""
    if not any(_may_be_mastodon(each) for each in listed):
        return None
    units = []
    for each in listed[:MAX_CONTAINERS]:
        try:
            unit = unit_of(host, engine.get("/containers/%s/json" % each["Id"]))
        except _engine.Missing:
            continue  # removed since the list was made
        if unit["role"]:
            units.append(unit)
    units.sort(key=lambda unit: unit["name"])
    for role in ("web", "sidekiq"):
        for unit in sorted(units, key=lambda unit: "pid" not in unit):
            if unit["role"] == role:
                try:
                    text = engine.file(unit["_container"], unit["working_directory"] + "/" + VERSION_FILE, 65536).decode("utf-8", "replace")
                except HostError:
                    continue
                if "module Mastodon" in text:
                    labels = unit["_labels"]
                    return {"project": name, "directory": str(labels.get(LABEL + "project.working_dir", ""))[:500],
                            "files": [path for path in str(labels.get(LABEL + "project.config_files", "")).split(",") if path][:10],
                            "compose": str(labels.get(LABEL + "version", ""))[:20], "root": unit["working_directory"], "units": units,
                            "version_file": text}
    return None


def _may_be_mastodon(listed: dict[str, Any]) -> bool:
    """Cheaply, from the list alone: a command, image or service that could be Mastodon's."""
    words = "%s %s %s" % (listed.get("Command", ""), listed.get("Image", ""), (listed.get("Labels") or {}).get(LABEL + "service", ""))
    return re.search(r"mastodon|puma|rails|sidekiq", words) is not None


def unit_of(host: Host, told: dict[str, Any]) -> dict[str, Any]:
    """A container as a unit (docs/facts.md), from what the engine's inspect tells."""
    config, state, own = told.get("Config") or {}, told.get("State") or {}, told.get("HostConfig") or {}
    labels = config.get("Labels") or {}
    argv = command_of([told.get("Path") or "", *(told.get("Args") or [])])
    environment = dict(pair.split("=", 1) for pair in config.get("Env") or [] if "=" in pair)
    status, exit_code = str(state.get("Status", "")), int(state.get("ExitCode") or 0)
    networks = (told.get("NetworkSettings") or {}).get("Networks") or {}
    policy = str((own.get("RestartPolicy") or {}).get("Name") or "no")
    active, sub = _STATES.get(status) or (("inactive" if exit_code in _CLEAN else "failed"), status)
    pid = int(state.get("Pid") or 0) if status in ("running", "paused") else 0
    killed = bool(state.get("OOMKilled"))
    unit: dict[str, Any] = {
        "name": str(told.get("Name", "")).lstrip("/")[:200], "manager": "compose", "service": str(labels.get(LABEL + "service", ""))[:100],
        "role": services.role_of(argv) or _role_by_service(labels, config), "shim": False, "load_state": "loaded",
        "active_state": active, "sub_state": sub,
        "result": "oom-kill" if killed else "success" if pid or exit_code in _CLEAN else "signal" if exit_code > 128 else "exit-code",
        "enabled": "disabled" if policy == "no" else "enabled", "restarts": int(told.get("RestartCount") or 0),
        "stop_timeout_seconds": _stop_timeout(config.get("StopTimeout")),
        "user": str(config.get("User") or "root")[:64], "working_directory": str(config.get("WorkingDir") or "/"),
        "image": str(config.get("Image", ""))[:200], "restart_policy": policy, "ports": _published(told),
        "networks": sorted(networks),
        "_container": str(told.get("Id", "")), "_hostname": str(config.get("Hostname", "")),
        "_argv": argv, "_command": [str(word) for word in config.get("Cmd") or []],
        "_env": environment, "_env_known": True, "_labels": labels,
        "_ips": [str(each.get("IPAddress") or "") for each in networks.values() if each],
        "_ips6": [str(each["GlobalIPv6Address"]) for each in networks.values() if each and each.get("GlobalIPv6Address")],
        "_gateways": [str(each["Gateway"]) for each in networks.values() if each and each.get("Gateway")],
        "_state_root": str(told.get("ResolvConfPath") or "").partition("/containers/")[0],
        "_image_id": str(told.get("Image", "")), "_mounts": _mounts(told), "_oom_killed": killed,
        "_tty": bool(config.get("Tty")),
        "_shares_network": str(own.get("NetworkMode", "")).startswith(("host", "container:", "service:")),
        "_cgroup": "", "_memory": ("", str(own.get("Memory") or "")),
    }
    labelled = str(labels.get("org.opencontainers.image.version") or "")
    version = _VERSION.search(labelled) or _VERSION.search(unit["image"].rpartition(":")[2])
    if version and unit["role"] in APP_ROLES:
        unit["image_version"] = version.group(1)[:40]
    unit["intended"] = not (active == "inactive" and policy == "no")
    since = epoch_of(str(state.get("StartedAt" if pid else "FinishedAt", "")))
    if since:
        unit["since_epoch"] = since
    if not pid and status in ("exited", "restarting", "dead"):
        unit["exit_code"] = "killed" if exit_code > 128 else "exited"
        unit["exit_status"] = exit_code - 128 if exit_code > 128 else exit_code
    if pid:
        unit["pid"] = pid
        unit["_started_epoch"] = since
        _of_process(host, unit)
    health = state.get("Health") or {}
    if pid and health.get("Status") in ("healthy", "unhealthy", "starting"):
        # In nanoseconds, 0 for the standard. While a slow one boots its checks fail, and the last result outlives the boot for an interval.
        interval = int((config.get("Healthcheck") or {}).get("Interval") or 0) / 1e9 or 30.0
        unit["health"] = {"status": health["Status"], "failures": int(health.get("FailingStreak") or 0),
                          "settled": time.time() - since > BOOT_SECONDS + 3 * interval}
        unit["_health_test"] = " ".join(str(word) for word in (config.get("Healthcheck") or {}).get("Test") or [])[:500]
    return unit


def _stop_timeout(told: Any) -> float | None:
    """Seconds; None: for ever."""
    seconds = ENGINE_STOP_SECONDS if told is None else int(told)
    return float(seconds) if seconds >= 0 else None


def command_of(argv: list[str]) -> list[str]:
    """The command that does the work: without init and entry point before it, and of a shell line (`rm -f …pid; rails s`) the last one."""
    words = list(argv)
    while words and (not words[0] or words[0].rsplit("/", 1)[-1] in _WRAPPERS):
        words = words[1:]
    if len(words) > 2 and words[0].rsplit("/", 1)[-1] in ("sh", "bash", "dash", "ash") and words[1] in ("-c", "-lc", "-ec"):
        last = [part for part in re.split(r"[;&|\n]+", words[2]) if part.strip()][-1:] or [""]
        line = re.sub(r"^\s*exec\s+", "", last[0])
        return command_of(services.split_words(line)) if services.role_of(services.split_words(line)) else words
    return words


def _role_by_service(labels: dict[str, Any], config: dict[str, Any]) -> str:
    """By the image of a server, where the command alone does not tell it."""
    image = str(config.get("Image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
    for role, words in (("pooler", "pgbouncer"), ("database", "postgres|postgis"), ("redis", "redis|valkey|keydb"),
                        ("proxy", "nginx|caddy|traefik|haproxy|httpd")):
        if re.search(words, image):
            return role
    service = str(labels.get(LABEL + "service", ""))
    return service if service in APP_ROLES and "mastodon" in str(config.get("Image", "")) else ""


def _of_process(host: Host, unit: dict[str, Any]) -> None:
    """What the kernel says of the main process: its control group and memory, and the environment that it was really given."""
    text = host.maybe("/proc/%d/cgroup" % unit["pid"], 16384) or ""
    found = re.search(r"(?m)^\d+:(?:[\w,]*\bmemory\b[\w,]*)?:(/\S*)$", text)
    unit["_cgroup"] = found.group(1) if found else ""
    if unit["_cgroup"] and ".." not in unit["_cgroup"]:
        for path in ("/sys/fs/cgroup%s/memory.current", "/sys/fs/cgroup/memory%s/memory.usage_in_bytes"):
            current = (host.maybe(path % unit["_cgroup"], 64) or "").strip()
            if current:
                unit["_memory"] = (current, unit["_memory"][1])
                break
    ids = re.search(r"(?m)^Uid:\s+(\d+).*\nGid:\s+(\d+)", host.maybe("/proc/%d/status" % unit["pid"], 8192) or "")
    if ids:
        unit["_ids"] = [int(ids.group(1)), int(ids.group(2))]


def _published(told: dict[str, Any]) -> list[str]:
    """`127.0.0.1:3000->3000`: where the host passes connections on to ports of the container; the declared ones when it does not run."""
    ports = (told.get("NetworkSettings") or {}).get("Ports") or (told.get("HostConfig") or {}).get("PortBindings") or {}
    found = set()
    for inner, outer in ports.items():
        for each in outer or []:
            address = each.get("HostIp") or "0.0.0.0"
            if each.get("HostPort"):
                found.add("%s:%s->%s" % ("[%s]" % address if ":" in address else address, each["HostPort"], inner.partition("/")[0]))
    return sorted(found)[:20]


def _mounts(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": str(each.get("Type", "")), "source": str(each.get("Source", "")), "path": str(each.get("Destination", "")).rstrip("/"),
             "writable": bool(each.get("RW", True))} for each in (told.get("Mounts") or [])[:50]]


def epoch_of(text: str) -> float:
    """2026-11-21T16:00:00.123456789Z in epoch seconds; 0 for none and for Go's zero time."""
    found = re.match(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(?:Z|([+-])(\d\d):(\d\d))$", text)
    if not found or text.startswith("0001"):
        return 0.0
    ahead = (int(found.group(4)) * 3600 + int(found.group(5)) * 60) * (1 if found.group(3) == "+" else -1) if found.group(3) else 0
    return round(calendar.timegm(time.strptime(found.group(1), "%Y-%m-%dT%H:%M:%S")) + float(found.group(2) or 0) - ahead, 3)


def address_of(unit: dict[str, Any], port: int) -> str:
    """Where this host reaches a port of the container: the published one, else the container's own address in its network."""
    for each in unit["ports"]:
        outer, _arrow, inner = each.partition("->")
        if inner == str(port):
            host, _colon, number = outer.rpartition(":")
            return "%s:%s" % ({"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host), number)
    if unit["_shares_network"]:
        return "127.0.0.1:%d" % port
    return "%s:%d" % (next(filter(None, unit["_ips"]), unit["service"] or unit["name"]), port)


def reached(install: Mapping[str, Any], target: Any) -> Any:
    """The target (with a `host`) as this host reaches it: services of the project have names that only its containers know."""
    for unit in install.get("units", ()):
        if unit.get("manager") == "compose" and target.host in (unit["service"], unit["name"]) and any(unit["_ips"]):
            return target._replace(host=next(filter(None, unit["_ips"])))
    return target
