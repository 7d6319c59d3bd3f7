# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass over a host: find the install, then every subset asked for side by side (private, may change any time)."""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils import _addresses, _clock, _inside
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import install
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import secrets
from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import Outcome, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    # Also what makes Ansible pack these files: it follows import statements, wherever they stand.
    from ansible_collections.fediops.mastodon.plugins.module_utils._observe import (  # noqa: F401
        assets,
        database,
        disk,
        environment,
        logs,
        media,
        memory,
        proxy,
        redis,
        remediation,
        search,
        services,
        sidekiq,
        streaming,
        web,
    )

SCHEMA = 1
OURS = ("ruby", "bundle", "puma", "sidekiq", "node", "MainThread", "postgres", "redis-server", "valkey-server", "keydb-server", "nginx")
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
# Without an install there is still a disk, and a disk that is full may be the reason why nothing else is found.
NEEDS_NO_MASTODON = ("disk", "memory", "services", "remediation")
RESOLVE_SECONDS = 1.0
SUBSETS = ("services", "environment", "disk", "memory", "database", "redis", "sidekiq", "web", "streaming", "proxy",
           "assets", "media", "search", "logs", "remediation")
NAMES = ("install",) + SUBSETS
# Asked where the app itself would ask: in its container, when it has one.
INSIDE = ("database", "redis", "sidekiq", "assets", "media", "search")


def chosen(asked: list[str]) -> list[str]:
    """Names of the subsets to run, for a list like [all], [database, redis] or [all, "!logs"]; ValueError with one sentence."""
    wanted: set[str] = set() if any(name and not name.startswith("!") for name in asked) else set(NAMES)
    for name in asked:
        plain = name[1:] if name.startswith("!") else name
        if plain not in NAMES and plain != "all":
            raise ValueError("there is no subset %r; gather_subset knows all, %s, and each with ! before it to leave it out"
                             % (plain[:40], ", ".join(NAMES)))
        members = set(NAMES) if plain == "all" else {plain}
        wanted = wanted - members if name.startswith("!") else wanted | members
    return [name for name in NAMES if name in wanted or name == "install"]


def gather(asked: list[str], timeout_seconds: float, log_since_seconds: float, root: str, signatures: dict[str, Any],
           fingerprint_key: str = "", cured: list[str] | None = None) -> dict[str, Any]:
    """Facts of this host by the contract (docs/facts.md). Returns within timeout_seconds and a moment, whatever hangs."""
    return survey(asked, timeout_seconds, log_since_seconds, root, signatures, fingerprint_key, cured)[0]


def survey(asked: list[str], timeout_seconds: float, log_since_seconds: float, root: str, signatures: dict[str, Any],
           fingerprint_key: str = "", cured: list[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facts, and the subset install with its private keys (secrets among them), which never leave the host.

    cured: issues that were cured until now by what was done on another host.
    """
    started = time.monotonic()
    end = started + timeout_seconds
    now = time.time()
    names = chosen(asked)
    facts: dict[str, Any] = {"schema": SCHEMA, "time_epoch": round(now, 3), "host": _host_facts()}
    # Finding the install may use at most half of the time: the subsets need the rest.
    first = side_by_side({"install": lambda host: install.observe(host, root)}, {"install": started + timeout_seconds / 2})["install"]
    ground = first.facts if first.state == "ok" else {"found": False, "searched": [], "units": [], "roles": [], "deployment": "systemd"}
    observers = {name: _observer(name, ground) for name in names if name in SUBSETS}
    if "logs" in observers:
        observers["logs"] = _observer("logs", ground, {
            "since_epoch": now - log_since_seconds, "signatures": signatures, "secrets": secrets(ground), "deadline": end - 0.5,
            "cured": dict.fromkeys(cured or (), now)})
    if "environment" in observers:
        observers["environment"] = _observer("environment", ground, {"fingerprint_key": fingerprint_key})
    skip = _why_skipped(ground, first)
    skipped = {name: reason for name, reason in ((name, skip(name)) for name in observers) if reason}
    outcomes = side_by_side({name: each for name, each in observers.items() if name not in skipped}, dict.fromkeys(observers, end))
    outcomes["install"] = first
    probes = {}
    for name in NAMES:
        if name in skipped or name not in outcomes:
            # What was asked for and there, but could not be looked into, counts as failed: nobody may take it for checked.
            state = "failed" if name in skipped and ground["found"] else "skipped"
            probes[name] = {"state": state, "seconds": 0.0, "reason": skipped.get(name, "not asked for (gather_subset)")}
            continue
        outcome = outcomes[name]
        probes[name] = {"state": outcome.state, "seconds": round(outcome.seconds, 3)}
        if outcome.reason:
            probes[name]["reason"] = outcome.reason[:400]
        if outcome.facts:
            facts[name] = install.public(outcome.facts) if name == "install" else outcome.facts
    facts["probes"] = probes
    _join_oom_kills(facts, ground)
    _resolve(facts, end)
    synchronized = _clock.synchronized()
    facts["clock"] = {} if synchronized is None else {"synchronized": synchronized}
    facts["clock"]["finished_epoch"] = round(time.time(), 3)
    # Bytes that are no text (of a file's name, or what a server answers as JSON) are no text of a result either: Ansible refuses all of it.
    sayable: dict[str, Any] = json.loads(json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace"))
    return sayable, ground


def _resolve(facts: dict[str, Any], end: float) -> None:
    """`host.resolved`: where the names lead that this Mastodon uses; `proxy.ipv6`. Processes of their own, for a resolver can hang."""
    asked, domain = _addresses.names(facts), facts.get("install", {}).get("domain")
    questions: dict[str, Callable[[Host], dict[str, Any]]] = {}
    if asked:
        questions["names"] = lambda _host: _addresses.resolve(asked)
    if domain and facts.get("proxy", {}).get("running"):
        here = facts["host"].get("addresses", [])
        questions["ipv6"] = lambda host: {"ipv6": _addresses.over_ipv6(host, domain, here)}
    deadline = time.monotonic() + max(0.1, min(RESOLVE_SECONDS, end - time.monotonic()))
    outcomes = side_by_side(questions, dict.fromkeys(questions, deadline)) if questions else {}
    if "names" in outcomes and outcomes["names"].state == "ok":
        facts["host"]["resolved"] = outcomes["names"].facts
    if "ipv6" in outcomes and outcomes["ipv6"].state == "ok":
        facts["proxy"].update(outcomes["ipv6"].facts)


def _observer(name: str, ground: dict[str, Any], *options: dict[str, Any]) -> Callable[[Host], dict[str, Any]]:
    """The subset's observe, loaded in the subset's own process: the compiling, a tenth of a second in all, is shared out too."""
    def observe(host: Host) -> dict[str, Any]:
        result: dict[str, Any]
        module = importlib.import_module("ansible_collections.fediops.mastodon.plugins.module_utils._observe." + name)
        if name in INSIDE and ground["deployment"] == "docker":
            silent = {unit["service"]: unit["name"] for unit in ground["units"] if unit.get("service") and "pid" not in unit}
            inside = _inside.enter(host, _container(ground), ground["_engine"], silent)
            try:
                result = module.observe(inside, ground, *options)
            finally:
                inside.demand_running()
        else:
            result = module.observe(host, ground, *options)
        return result

    return observe


def _container(ground: dict[str, Any]) -> dict[str, Any]:
    """The container that stands for the app: its files and its network are those of every process of Mastodon."""
    for role in ("web", "sidekiq"):
        for unit in ground["units"]:
            if unit["role"] == role and "pid" in unit and unit.get("_container") and unit["sub_state"] == "running":
                return dict(unit)
    raise HostError("neither a container of web nor one of Sidekiq runs, so there is nobody to look with; docker compose up -d")


def _why_skipped(ground: dict[str, Any], first: Outcome) -> Callable[[str], str]:
    def reason(name: str) -> str:
        # The logs of a host that has only the database of a Mastodon, say, tell why that is down; nginx can be on a host of its own.
        bare = bool(ground["roles"]) and not ground["found"]
        if name in NEEDS_NO_MASTODON or bare and (name == "logs" or (name == "proxy" and "proxy" in ground["roles"])):
            return ""
        if first.state != "ok":
            return "the install could not be found: %s" % first.reason
        if not ground["found"]:
            return "no Mastodon was found on this host"
        if ground["deployment"] == "docker" and "compose" not in ground:
            return "Mastodon runs in containers here that no docker compose made (or its engine may not be asked), which this release " \
                   "does not look into"
        if ground["deployment"] == "unknown":
            return "no unit or process runs the Mastodon in %s, so how it is run here is not known" % ground["root"]
        return ""

    return reason


def _join_oom_kills(facts: dict[str, Any], ground: dict[str, Any]) -> None:
    kills = facts.get("logs", {}).pop("_oom_kills", None)
    if kills is not None and "memory" in facts:
        units = {unit["name"] for unit in facts.get("services", {}).get("units", ())}
        units |= {source["name"] for source in facts["logs"]["sources"] if source["origin"] == "command"}
        # The kernel knows a container by the id in the name of its control group.
        containers = {unit["_container"]: unit["name"] for unit in ground["units"] if unit.get("_container")}
        for kill in kills:
            own = [name for identifier, name in containers.items() if identifier in kill.get("cgroup", "")]
            kill.update({"unit": own[0]} if own else {})
        # A build runner beside Mastodon that hits the limit of its own unit or container is nobody's fault here.
        facts["memory"]["oom_kills"] = [kill for kill in kills if kill.get("unit") in units or (
            not kill.get("unit") and kill["process"].startswith(OURS) and not _CONTAINER_ID.search(kill.get("cgroup", "")))]


def _host_facts() -> dict[str, Any]:
    host = Host(time.monotonic() + 5)
    release = dict(line.split("=", 1) for line in (host.maybe("/etc/os-release", 65536) or "").splitlines() if "=" in line)
    uptime = (host.maybe("/proc/uptime", 200) or "0").split(" ", 1)[0]
    system = release.get("PRETTY_NAME", platform.system()).strip('"')[:100]
    return {"name": platform.node()[:253], "os": system, "cpus": os.cpu_count() or 1,
            "python": platform.python_version(), "uptime_seconds": float(uptime), "addresses": _addresses.own(host)}
