# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep Redis from throwing away queued jobs: maxmemory-policy noeviction, now (CONFIG SET) and in its configuration file.

A Redis that is nearly full would refuse writes from then on, which is worse than what it does now: then it is not touched.
"""

from __future__ import annotations

import re
import shlex
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project_override
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import compose, install
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.redis_target import resolve
from ansible_collections.fediops.mastodon.plugins.module_utils._redis import READERS, ErrorReply, Redis, RedisError, Target, information

if TYPE_CHECKING:
    from collections.abc import Callable

WANTED = "noeviction"
POLICIES = ("volatile-lru", "allkeys-lru", "volatile-lfu", "allkeys-lfu", "volatile-random", "allkeys-random", "volatile-ttl", WANTED)
USES = ("", "SIDEKIQ_")  # a cache of its own may evict
FULL_PERCENT = 90
SECONDS = 10.0
# https://redis.io/docs/latest/operate/oss_and_stack/management/config/: one directive a line, its name in any case, the last one counts.
_LINE = re.compile(r"(?mi)^[ \t]*maxmemory-policy[ \t]+[^\n]*$")


class Setter(Redis):
    """A connection of the app that may also set a parameter."""

    commands = READERS | {"CONFIG"}


def fix(change: Change) -> None:
    done: list[Target] = []
    for use in USES:
        target, told = _asked(change.install, use)
        if target in done or told.get("maxmemory_policy") == WANTED or not int(told.get("maxmemory", 0)):
            continue
        done.append(target)
        _demand_room(target, told)
        if "compose" in change.install:
            _write_command(change, target)
        else:
            _write(change, target, told.get("config_file", ""))
        before = told.get("maxmemory_policy", "")
        if change.before("redis_policy", "Redis at %s: maxmemory-policy %s -> %s" % (target.label, before, WANTED), use=use, policy=before,
                         root=(change.install.get("compose") or {}).get("directory") or str(change.install.get("root") or "")):
            _set(target, WANTED)


def check(change: Change) -> str:
    for use in USES:
        target, told = _asked(change.install, use)
        if int(told.get("maxmemory", 0)) and told.get("maxmemory_policy") != WANTED:
            return "Redis at %s still has maxmemory-policy %s" % (target.label, told.get("maxmemory_policy"))
    return ""


def set_back(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """UNDO of redis_policy. The password is not in the journal: it is read anew."""
    if operation["policy"] not in POLICIES:
        raise Refused("%r is no maxmemory-policy" % operation["policy"])
    target = _asked(install.observe(Host(time.monotonic() + 60), operation["root"]), operation["use"])[0]
    _set(target, operation["policy"])
    say("Redis at %s has maxmemory-policy %s again" % (target.label, operation["policy"]))


UNDO = {"redis_policy": set_back}


def _asked(found: dict[str, Any], use: str) -> tuple[Target, dict[str, str]]:
    """Where a use goes, and INFO of that server."""
    try:
        target = compose.reached(found, resolve(Host(time.monotonic() + SECONDS), found, use))
        with _connect(target) as link:
            raw = link.ask(("INFO",))[0]
    except RedisError as problem:
        raise Refused("%s; mend that first" % problem) from None
    if not isinstance(raw, str) or isinstance(raw, ErrorReply):
        raise Refused("Redis at %s does not answer INFO; ask its administrator for maxmemory-policy %s" % (target.label, WANTED))
    return target, information(raw)


def _connect(target: Target) -> Setter:
    return Setter(Host(time.monotonic() + SECONDS).connect, target, SECONDS)


def _demand_room(target: Target, told: dict[str, str]) -> None:
    used, most = int(told.get("used_memory", 0)), int(told["maxmemory"])
    if used * 100 >= most * FULL_PERCENT:
        raise Refused("Redis at %s uses %d of %d bytes: without eviction it would soon refuse writes; raise maxmemory first" % (
            target.label, used, most))


def _write(change: Change, target: Target, path: str) -> None:
    """Put it into the configuration file; Refused where a restart would bring the old policy back."""
    units = [unit for unit in change.units("redis") if "pid" in unit]
    local = target.path or target.host in ("localhost", "127.0.0.1", "::1")
    if not local or not units:
        raise Refused("Redis at %s is not on this host; set maxmemory-policy %s in its own configuration (or parameter group)" % (
            target.label, WANTED))
    if any("maxmemory-policy" in word.lower() for unit in units for word in unit["_argv"]):
        raise Refused("the command line of %s sets maxmemory-policy; correct it there" % units[0]["name"])
    text = change.text(path) if path.startswith("/") else None
    if text is None:
        raise Refused("Redis at %s was started without a configuration file, so it would forget maxmemory-policy %s; give it one" % (
            target.label, WANTED))
    line = "maxmemory-policy " + WANTED
    found = list(_LINE.finditer(text))
    last = found[-1] if found else None
    if last is not None and not re.search(r"(?mi)^[ \t]*include[ \t]", text[last.end():]):
        after = text[:last.start()] + line + text[last.end():]
    else:
        after = text + ("" if not text or text.endswith("\n") else "\n") + line + "\n"
    change.write(path, after, shown=("\n".join(each.group().strip() for each in found), line))


def _write_command(change: Change, target: Target) -> None:
    """What the container is started with the next time; its Redis keeps running, and CONFIG SET does the rest."""
    unit = next((unit for unit in change.units("redis") if "pid" in unit and target.host in unit["_ips"]), None)
    if unit is None:
        raise Refused("Redis at %s is in no container of the project; set maxmemory-policy %s in its own configuration" % (
            target.label, WANTED))
    words, kept = unit["_command"], []
    if not words or words[0].rsplit("/", 1)[-1] not in ("redis-server", "valkey-server", "keydb-server"):
        raise Refused("%s is not started by redis-server itself; set maxmemory-policy %s in what it is started by" % (unit["name"], WANTED))
    for at, word in enumerate(words):
        if "--maxmemory-policy" not in (word.lower(), words[at - 1].lower() if at else ""):
            kept.append(word)
    command = shlex.join([*kept, "--maxmemory-policy", WANTED])
    project_override.write(change, project_override.of_command(change, unit, command, "put --maxmemory-policy %s into" % WANTED))


def _set(target: Target, policy: str) -> None:
    try:
        with _connect(target) as link:
            reply = link.ask(("CONFIG", "SET", "maxmemory-policy", policy))[0]
    except RedisError as problem:
        raise Refused(str(problem)) from None
    if isinstance(reply, ErrorReply):
        raise Refused("Redis at %s answered CONFIG SET with %s; ask its administrator for maxmemory-policy %s" % (
            target.label, reply.code, policy))
