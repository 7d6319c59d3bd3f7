# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subset environment: what the processes, the dotenv files and the login shell really say. Values of secrets never leave this file."""

from __future__ import annotations

import ipaddress
import re

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ansible_collections.fediops.mastodon.plugins.module_utils._addresses import is_address
from ansible_collections.fediops.mastodon.plugins.module_utils._fingerprint import fingerprints
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostDenied, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Only these values are ever shown; everything else is presence at most. None of them can hold a credential by its meaning; an URL could,
# and is shown only when nothing in it can be one (`_PLAIN` has no @).
SHOWN = ("RAILS_ENV", "NODE_ENV", "PORT", "BIND", "SOCKET", "WEB_CONCURRENCY", "MAX_THREADS", "MIN_THREADS", "DB_POOL", "DB_HOST",
         "DB_PORT", "DB_NAME", "DB_USER", "DB_SSLMODE",
         "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "SIDEKIQ_REDIS_HOST", "CACHE_REDIS_HOST", "REDIS_NAMESPACE",
         "S3_ENABLED", "S3_BUCKET", "S3_REGION", "S3_HOSTNAME", "S3_ENDPOINT", "S3_PROTOCOL",
         "SWIFT_ENABLED", "AZURE_ENABLED", "ES_ENABLED", "ES_HOST", "ES_PORT", "ES_PREFIX",
         "SMTP_SERVER", "SMTP_PORT", "SMTP_AUTH_METHOD", "SMTP_TLS", "SMTP_SSL", "SMTP_ENABLE_STARTTLS", "SMTP_DELIVERY_METHOD",
         "LOCAL_DOMAIN", "WEB_DOMAIN", "SINGLE_USER_MODE", "LIMITED_FEDERATION_MODE",
         "RAILS_LOG_LEVEL", "LOG_LEVEL", "PREPARED_STATEMENTS", "RAILS_SERVE_STATIC_FILES", "MASTODON_USE_LIBVIPS", "MALLOC_ARENA_MAX",
         "SIDEKIQ_CONCURRENCY", "STREAMING_CLUSTER_NUM", "TRUSTED_PROXY_IP", "STREAMING_API_BASE_URL",
         "PAPERCLIP_ROOT_PATH")
# Beside the required keys: what web and Sidekiq must have alike, wherever they run.
SAME_EVERYWHERE = ("VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY")
_PLAIN = re.compile(r"^[\w./:,\[\] *-]{0,200}$")
SECRET = re.compile(r"PASS|SECRET|TOKEN|PRIVATE|CREDENTIAL|_KEY$|_KEY_|_SALT$|_KEY_ID$|_DSN$", re.IGNORECASE)
URL_WITH_PASSWORD = re.compile(r"://[^/\s:@]*:([^@\s]+)@")

# Read before dotenv is loaded (config/puma.rb, config/sidekiq.yml) or by the loader at exec: no effect from a dotenv file.
_BEFORE_DOTENV = ("WEB_CONCURRENCY", "MIN_THREADS", "PERSISTENT_TIMEOUT", "SIDEKIQ_CONCURRENCY", "SOCKET", "BIND")
_AT_EXEC = ("LD_PRELOAD", "MALLOC_ARENA_MAX", "MALLOC_CONF", "RUBY_YJIT_ENABLE", "RAILS_ENV", "NODE_ENV")


_NOBODY = {"asked": False, "rails_env": None, "node_env": None}


def shown(environment: dict[str, str]) -> dict[str, str]:
    """The allow-listed settings of an environment."""
    return {key: environment[key] for key in SHOWN if key in environment and _PLAIN.match(environment[key])}


def effective_settings(install: dict[str, Any]) -> dict[str, str]:
    """The effective environment, for those who connect with it; HostDenied when it could only be guessed from the defaults."""
    denied = [each["denied"] for each in install["_files"].values() if "denied" in each]
    apps = [unit for unit in install["units"] if unit["role"] in ("web", "sidekiq", "streaming") and "pid" in unit]
    if denied and not any(unit.get("_env_known") for unit in apps):
        raise HostDenied(denied[0])
    effective: dict[str, str] = install["_environment"]
    return effective


def secrets(install: dict[str, Any]) -> list[str]:
    """Every secret value known here, for redaction of what is shown: by key, by key of any unit, and passwords inside URLs, decoded too."""
    found: set[str] = set()
    sources = [install.get("_dotenv", {}), install.get("_environment", {})] + [unit["_env"] for unit in install["units"]]
    sources += [each.get("keys", {}) for each in install.get("_files", {}).values()]
    for source in sources:
        for key, value in source.items():
            if SECRET.search(key):
                found.add(value)
            found.update(URL_WITH_PASSWORD.findall(value))
            # redis-client takes redis://secret@host as a password.
            if key.endswith("REDIS_URL"):
                found.update(re.findall(r"://([^/\s:@]+)@", value))
    found.update([unquote(value) for value in found if "%" in value])
    return [value for value in found if len(value) >= 4]


def observe(host: Host, install: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The subset. options: {"fingerprint_key": 64 hex digits, or empty for no fingerprints}.

    State failed with `_reason` when a file is malformed, denied when neither files nor processes may be read.
    """
    number = tuple(install.get("version", {}).get("number", (99,)))
    required = list(rules(number).required_keys)
    dotenv = install["_dotenv"]
    processes, missing = [], set()
    apps = [unit for unit in install["units"] if unit["role"] in ("web", "sidekiq", "streaming") and unit["intended"] and not unit["shim"]]
    for unit in apps:
        effective = dict(dotenv, **unit["_env"])
        # Streaming needs none of the keys that Rails requires.
        absent = [key for key in required if not effective.get(key)] if unit["role"] != "streaming" else []
        missing.update(absent)
        facts = {"unit": unit["name"], "role": unit["role"], "running": "pid" in unit, "missing": absent,
                 "rails_env": unit["_env"].get("RAILS_ENV"), "node_env": unit["_env"].get("NODE_ENV")}
        processes.append({key: value[:64] if isinstance(value, str) else value for key, value in facts.items()})
    if not apps:
        missing.update(key for key in required if not dotenv.get(key))
    effective = install["_environment"]
    result: dict[str, Any] = {
        "file": _file(host, install),
        "required": required,
        "missing": sorted(missing),
        "processes": processes,
        "ineffective": _ineffective(install, apps),
        "settings": shown(effective),
        "secrets": {key: _length(value) for key, value in sorted(effective.items()) if SECRET.search(key) and re.match(r"^[A-Z]\w*$", key)},
    }
    if options["fingerprint_key"]:
        result["fingerprints"] = fingerprints(options["fingerprint_key"], effective, required + list(SAME_EVERYWHERE))
    if effective.get("TRUSTED_PROXY_IP", "").strip():
        result["trusted_proxies"] = trusted_proxies(effective["TRUSTED_PROXY_IP"], this_host(apps))
    _check_access(install, apps)
    result["login_shell"] = login_shell(host, install) if "compose" not in install else dict(_NOBODY)
    problems = [(name, each["problems"]) for name, each in install["_files"].items() if each.get("problems")]
    failed = [each["failed"] for each in install["_files"].values() if "failed" in each]
    if problems:
        name, (line, reason) = problems[0][0], problems[0][1][0]
        result["_reason"] = "%s/%s line %d: %s" % (install["root"], name, line, reason)
    elif failed:
        result["_reason"] = failed[0]
    return result


def this_host(apps: Iterable[Mapping[str, Any]]) -> list[str]:
    """The addresses that a proxy on this host comes from: to a container with published ports, the gateways of its networks."""
    gateways = [address for unit in apps if unit["role"] == "web" for address in unit.get("_gateways", ()) if is_address(address)]
    return list(dict.fromkeys(gateways)) or ["127.0.0.1"]


def trusted_proxies(text: str, here: Sequence[str]) -> dict[str, Any]:
    """What TRUSTED_PROXY_IP means to Mastodon: {this_host: whether a proxy on this host is trusted, invalid: entries that are no address}.

    Source: mastodon/mastodon, config/environments/production.rb.
    """
    networks, invalid = [], []
    for word in re.split(r"[\s,]+", text.strip()):
        try:
            networks.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            invalid.append(word[:60])
    trusted = any(ipaddress.ip_address(address) in each for address in here for each in networks)
    return {"this_host": trusted, "invalid": invalid[:10]}


def _check_access(install: dict[str, Any], apps: list[dict[str, Any]]) -> None:
    denied = [each["denied"] for each in install["_files"].values() if "denied" in each]
    unseen = [unit["name"] for unit in apps if "pid" in unit and not unit.get("_env_known")]
    if denied and (unseen or not apps):
        raise HostDenied(denied[0])
    if unseen and len(unseen) == len(apps):
        raise HostDenied("the environment of the processes of %s may not be read; run with become: true (as root)" % ", ".join(unseen))


def _file(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    # Compose reads the one of the project's directory, as whoever calls it; in the container there is none.
    composed = "compose" in install
    path = (install["compose"]["directory"] if composed else install["root"]) + "/.env.production"
    status = host.stat(path)
    facts: dict[str, Any] = {"path": path, "exists": status is not None}
    if status is None:
        return facts
    owner = host.user(status.st_uid)
    read = install["_files"].get(".env.production", {})
    facts.update(mode="%04o" % (status.st_mode & 0o7777), owner=owner.user if owner else str(status.st_uid),
                 group=host.group_name(status.st_gid), bytes=status.st_size,
                 problems=[{"line": line, "reason": reason} for line, reason in read.get("problems", [])])
    app = install.get("owner")
    if app and not composed:
        try:
            # Asked as the app's user: further groups and access lists count, not only the mode.
            facts["readable_by_app"] = host.run(["test", "-r", path], 2.0, 4096, host.owner(app)).rc == 0
        except HostError:
            pass  # only root can ask for somebody else
    return facts


def _ineffective(install: dict[str, Any], apps: list[dict[str, Any]]) -> list[dict[str, str]]:
    found = []
    for name, each in install["_files"].items():
        for key in each.get("keys", {}):
            reason = "read_before_dotenv" if key in _BEFORE_DOTENV else "read_at_exec" if key in _AT_EXEC else ""
            if key == "DB_POOL" and any("DB_POOL" in unit["_env"] for unit in apps):
                reason = "unit_overrides"
            if reason:
                found.append({"key": key, "file": install["root"] + "/" + name, "reason": reason})
    return found[:50]


def _length(value: str) -> str:
    return "empty" if not value else "long" if len(value) >= 32 else "short"


def login_shell(host: Host, install: dict[str, Any]) -> dict[str, Any]:
    """RAILS_ENV and NODE_ENV as the app user gets them on logging in (profile files are run, as they are at every login)."""
    answer: dict[str, Any] = dict(_NOBODY)
    owner = host.owner(install["owner"]) if "owner" in install else None
    if owner is None or owner.uid == 0 or owner.shell.rsplit("/", 1)[-1] not in ("sh", "bash", "dash", "zsh", "ksh"):
        return answer
    identity = {"HOME": owner.home, "USER": owner.user, "LOGNAME": owner.user, "SHELL": owner.shell}
    try:
        done = host.run([owner.shell, "-lc", 'printf "\\n@%s\\n@%s\\n" "$RAILS_ENV" "$NODE_ENV"'], 3.0, 65536, owner, identity)
    except HostError:
        return answer
    values = re.findall(rb"(?m)^@([\w-]{0,64})$", done.out)
    if done.rc is not None and len(values) >= 2:
        answer.update(asked=True, rails_env=values[-2].decode() or None, node_env=values[-1].decode() or None)
    return answer
