# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset install: where Mastodon is, whose it is, which version, how it is deployed and which roles this host plays.

Its result is also the ground of all other subsets. Keys with a leading underscore (values of the environment, secrets among them) go
from process to process in memory only; `public` takes them away before anything leaves the host.
"""

from __future__ import annotations

import json
import re

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils import _engine
from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv import MAX_FILE_BYTES, RAILS_FILES, parse
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostDenied, HostError, Owner, denied
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import compose, services
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import parse_version, rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._engine import Engine

VERSION_FILE = "lib/mastodon/version.rb"
USUAL_ROOTS = ("/home/mastodon/live", "/home/*/live", "/var/www/mastodon/live", "/opt/mastodon", "/opt/mastodon/live", "/srv/mastodon",
               "/srv/mastodon/live", "/var/lib/mastodon/live", "/usr/share/mastodon")
APP_ROLES = ("web", "sidekiq", "streaming")
SIDEKIQ_SHUTDOWN_SECONDS = 25  # what Sidekiq allows running jobs at a stop unless told otherwise, in all its versions


def observe(host: Host, root_option: str) -> dict[str, Any]:
    """Find the install. `found` false is a result, not an error; `searched` then tells the reader where it looked."""
    units = services.discover(host)
    searched: list[str] = []
    project, problem = _project(host, root_option, units, searched)
    if project is not None:
        return _composed(host, project, units, searched)
    root = _root(host, root_option, units, searched)
    container = "" if root else _container(host, searched)
    lying = "" if root or container else _lying_there(host, searched)
    # A Puma, Sidekiq or Node of another Rails application on this host is none of our business.
    units = [unit for unit in units if unit["role"] not in APP_ROLES or (root and _belongs(host, unit, root))]
    root = root or lying
    if problem is not None and not units and not root:
        raise problem  # whoever may not ask the engine cannot know what its containers are
    install: dict[str, Any] = {"found": bool(root or container), "searched": searched, "units": units,
                               "deployment": "docker" if container else "unknown" if lying else "systemd",
                               "roles": [role for role in APP_ROLES + ("database", "redis", "proxy", "pooler")
                                         if any(unit["role"] == role for unit in units)]}
    if root:
        _describe(host, install, root, units)
    elif container:
        install["root"] = container
    return install


def public(install: dict[str, Any]) -> dict[str, Any]:
    """What may leave the host of the subset install."""
    return {key: value for key, value in install.items() if not key.startswith("_") and key != "units"}


def _project(host: Host, option: str, units: list[dict[str, Any]], searched: list[str]) -> tuple[dict[str, Any] | None, HostError | None]:
    """The project of docker compose that runs Mastodon here, unless it lies there stopped beside one that systemd runs."""
    try:
        project = compose.discover(host, option, searched)
    except HostError as problem:
        searched.append("the container engine could not be asked: %s" % problem)
        return None, problem
    ours = project is not None and any("pid" in unit for unit in project["units"] if unit["role"] in APP_ROLES)
    return (project if ours or (project is not None and not any(unit["role"] in APP_ROLES for unit in units)) else None), None


def _composed(host: Host, project: dict[str, Any], units: list[dict[str, Any]], searched: list[str]) -> dict[str, Any]:
    """The install of a project; systemd's units beside it are its proxy, or the stores of a host that keeps them outside."""
    own = project["units"]
    every = own + [unit for unit in units if unit["role"] not in APP_ROLES]
    install: dict[str, Any] = {
        "found": True, "searched": searched, "units": every, "deployment": "docker", "root": project["root"],
        "roles": [role for role in APP_ROLES + ("database", "redis", "proxy", "pooler") if any(unit["role"] == role for unit in every)],
        "compose": {key: project[key] for key in ("project", "directory", "files")}, "_engine": project["socket"]}
    install["compose"]["version"] = project["compose"]
    version = parse_version(project["version_file"])
    if version is not None:
        install["version"] = {"string": version[0], "number": list(version[1])}
    app = next(unit for role in APP_ROLES for unit in own if unit["role"] == role)
    engine = _engine.at(host, project["socket"])
    _owner_in_container(engine, install, app)

    def read(name: str) -> bytes | None:
        try:
            return engine.file(app["_container"], "%s/%s" % (project["root"], name), MAX_FILE_BYTES + 1)
        except _engine.Missing:
            return None

    _environment(install, own, read)
    _named(install, project["root"])
    return install


def _owner_in_container(engine: Engine, install: dict[str, Any], app: dict[str, Any]) -> None:
    """The user of the app's processes: numbers as the host counts them, names and home from the image's own list of users."""
    try:
        lines = engine.file(app["_container"], "/etc/passwd", 1 << 18).decode("utf-8", "replace").splitlines()
    except HostError:
        lines = []
    wanted = app["user"].split(":")[0]
    fields = next((each for each in (line.split(":") for line in lines) if len(each) == 7 and wanted in (each[0], each[2])), None)
    uid, gid = app.get("_ids") or ([int(fields[2]), int(fields[3])] if fields and fields[2].isdigit() and fields[3].isdigit() else [0, 0])
    if fields or "_ids" in app:
        install["owner"] = {"user": fields[0] if fields else str(uid), "uid": uid, "gid": gid, "group": str(gid),
                            "home": fields[5] if fields else "/"}


def _root(host: Host, option: str, units: list[dict[str, Any]], searched: list[str]) -> str:
    if option:
        searched.append("the directory given as mastodon_root: %s" % option)
        return _checked(host, option)
    searched.append("the working directories of units that run Puma, Sidekiq or Mastodon's streaming server")
    for unit in units:
        if unit["role"] in APP_ROLES and _checked(host, unit["working_directory"]):
            return _checked(host, unit["working_directory"])
    searched.append("the working directories of such processes")
    for pid in host.names("/proc"):
        if pid.isdigit() and services.role_of(services.command_line(host, pid)) in APP_ROLES:
            found = _checked(host, host.link("/proc/%s/cwd" % pid))
            if found:
                return found
    return ""


def _lying_there(host: Host, searched: list[str]) -> str:
    """A checkout that nothing here is known to run: perhaps that of a compose file, perhaps of a supervisor that is not systemd."""
    searched.append("the usual directories " + ", ".join(USUAL_ROOTS))
    for pattern in USUAL_ROOTS:
        for path in host.glob(pattern) if "*" in pattern else [pattern]:
            if _checked(host, path):
                return _checked(host, path)
    return ""


def _checked(host: Host, path: str) -> str:
    """The path without links when a Mastodon is there; HostDenied when we may not even look."""
    if not path.startswith("/"):
        return ""
    if not host.is_dir(path):
        if host.is_denied(path):
            raise denied(path)
        return ""
    try:
        text = host.text(path + "/" + VERSION_FILE, 65536)
    except HostDenied:
        raise
    except HostError:
        return ""
    return host.real(path) if "module Mastodon" in text else ""


def _container(host: Host, searched: list[str]) -> str:
    """Root of a Mastodon that runs in a container of this host, as its processes see it; empty when there is none."""
    searched.append("containers: processes with the working directory /opt/mastodon or /mastodon in another file system")
    for pid in host.names("/proc"):
        if pid.isdigit() and services.role_of(services.command_line(host, pid)) in APP_ROLES:
            directory = host.link("/proc/%s/cwd" % pid)
            if directory in ("/opt/mastodon", "/mastodon") and not host.exists(directory + "/" + VERSION_FILE):
                return directory
    searched.append("stopped containers of Docker with a Mastodon image")
    for path in host.glob("/var/lib/docker/containers/*/config.v2.json")[:200]:
        try:
            image = json.loads(host.read(path)).get("Config", {}).get("Image", "")
        except (HostError, ValueError, AttributeError):
            continue
        if re.search(r"(^|/)mastodon(-streaming)?(:|@|$)", str(image)):
            return "/opt/mastodon"
    return ""


def _belongs(host: Host, unit: dict[str, Any], root: str) -> bool:
    """Whether a unit is this Mastodon's: by its directory (each of several releases behind a link counts), else by its command or name."""
    directory = unit["working_directory"] or (host.link("/proc/%d/cwd" % unit["pid"]) if "pid" in unit else "")
    real = host.real(directory) if directory else ""
    if real and host.is_dir(real):
        return real == root or bool(_checked(host, real))
    return "mastodon" in unit["name"] or any(word.startswith(root + "/") for word in unit["_argv"])


def _describe(host: Host, install: dict[str, Any], root: str, units: list[dict[str, Any]]) -> None:
    install["root"] = root
    status = host.stat(root)
    app_users = [unit["user"] for unit in units if unit["role"] in APP_ROLES and unit["user"] != "root"]
    owner = host.user(app_users[0]) if app_users else None
    if owner is None and status is not None:
        # An owner without a name (991 of an image) is nobody to be looked up, but all the more nobody to be root for.
        owner = host.user(status.st_uid) or Owner(str(status.st_uid), status.st_uid, status.st_gid, "/", "")
    if owner is not None:
        install["owner"] = {"user": owner.user, "uid": owner.uid, "gid": owner.gid, "group": host.group_name(owner.gid),
                            "home": owner.home}
    version = parse_version(host.maybe(root + "/" + VERSION_FILE, 65536) or "")
    if version is not None:
        install["version"] = {"string": version[0], "number": list(version[1])}
    _environment(install, units, lambda name: host.read(root + "/" + name, MAX_FILE_BYTES + 1) if host.exists(root + "/" + name) else None)
    _named(install, root, host.maybe(root + "/config/sidekiq.yml", 65536) or "")


def _named(install: dict[str, Any], root: str, sidekiq: str = "") -> None:
    """What the settings say of the whole install. `sidekiq`: config/sidekiq.yml; that of an image is the release's own."""
    effective = install["_environment"]
    install["domain"] = effective.get("LOCAL_DOMAIN", "")[:253]
    install["storage"] = next((name for name, key in (("s3", "S3_ENABLED"), ("swift", "SWIFT_ENABLED"), ("azure", "AZURE_ENABLED"))
                               if effective.get(key) == "true"), "local")
    install["media_root"] = effective.get("PAPERCLIP_ROOT_PATH", "").replace(":rails_root", root) or root + "/public/system"
    _pools(install, sidekiq)


def _environment(install: dict[str, Any], units: list[dict[str, Any]], read: Callable[[str], bytes | None]) -> None:
    """`_files`: what was read of each dotenv file; `_dotenv`: merged; `_environment`: effective for the web process (or any other).

    `read` gives the content of such a file, None when there is none.
    """
    web = next((unit for role in APP_ROLES for unit in units if unit["role"] == role and not unit["shim"]), None)
    process = dict(web["_env"]) if web else {}
    files: dict[str, Any] = {}
    merged: dict[str, str] = {}
    for name in RAILS_FILES:
        try:
            content = read(name)
            if content is None:
                continue
            parsed = parse(content, process, gem=_dotenv_gem(install))
        except HostError as problem:
            files[name] = {"denied": str(problem)} if isinstance(problem, HostDenied) else {"failed": str(problem)}
            continue
        files[name] = {"keys": parsed.values, "problems": [list(each) for each in parsed.problems]}
        for key, value in parsed.values.items():
            merged.setdefault(key, value)
    install["_files"] = files
    install["_dotenv"] = merged
    install["_environment"] = dict(merged, **process)


def _dotenv_gem(install: dict[str, Any]) -> tuple[int, int]:
    """Which dotenv the release is locked to: its ways of reading quotes, backslashes and variables differ."""
    number = tuple(install.get("version", {}).get("number", (99,)))
    return (2, 7) if number < (4, 0) else (2, 8) if number < (4, 3) else (3, 1)


def _pools(install: dict[str, Any], sidekiq: str) -> None:
    """Threads and database pool of each unit, by the formulas of config/puma.rb, config/sidekiq.yml (`sidekiq`) and config/database.yml."""
    number = tuple(install.get("version", {}).get("number", (99,)))
    told = re.search(r"(?m)^:timeout:\s*(\d{1,6})\s*$", sidekiq)
    shutdown = int(told.group(1)) if told else SIDEKIQ_SHUTDOWN_SECONDS
    for unit in install["units"]:
        own = unit["_env"]
        both = dict(install["_dotenv"], **own)
        if unit["role"] == "sidekiq":
            unit["queues"] = _queues(unit["_argv"])
            unit["shutdown_timeout_seconds"] = _option(unit["_argv"], own, "-t", "--timeout") or shutdown
            allowed = unit.get("stop_timeout_seconds")  # 0: it is killed at once
            unit["stop_short"] = allowed is not None and allowed <= unit["shutdown_timeout_seconds"]
            if "-C" in unit["_argv"] or "--config" in unit["_argv"]:
                continue  # a configuration of its own says how many threads and which queues; the heartbeat knows
            named = own.get("SIDEKIQ_CONCURRENCY") if number >= (4, 1) else None
            unit["concurrency"] = _option(unit["_argv"], own, "-c", "--concurrency") or _count(named) or 5
        elif unit["role"] == "web":
            # Puma reads its configuration before dotenv is loaded: only the real environment counts.
            unit["concurrency"] = _count(own.get("MAX_THREADS")) or 5
            workers = own.get("WEB_CONCURRENCY", "")
            unit["workers"] = int(workers) if workers.isdigit() else 2
        else:
            continue
        fallback = unit["concurrency"] if unit["role"] == "sidekiq" and rules(number).pool_follows_sidekiq else None
        unit["db_pool"] = _count(both.get("DB_POOL")) or fallback or _count(both.get("MAX_THREADS")) or 5
        unit["pool_short"] = unit["db_pool"] < unit["concurrency"]


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and re.match(r"^\d{1,6}$", value) and int(value) else None


def _option(argv: list[str], environment: dict[str, str], short: str, long: str) -> int | None:
    """The number behind an option of a command line, `-c 25` or `-c ${THREADS}` as systemd would fill it in."""
    filled = [re.sub(r"\$\{?(\w+)\}?", lambda match: environment.get(match.group(1), ""), word) for word in argv]
    for at, word in enumerate(filled):
        if word in (short, long) and at + 1 < len(filled):
            return _count(filled[at + 1])
        if word.startswith(long + "="):
            return _count(word[len(long) + 1:])
        if word.startswith(short) and word[len(short):].isdigit():
            return _count(word[len(short):])
    return None


def _queues(argv: list[str]) -> list[str]:
    found = []
    for at, word in enumerate(argv):
        if word in ("-q", "--queue") and at + 1 < len(argv):
            found.append(argv[at + 1].split(",")[0])
        elif word.startswith("--queue="):
            found.append(word[8:].split(",")[0])
    return [name[:64] for name in found if re.match(r"^[\w.-]+$", name)]
