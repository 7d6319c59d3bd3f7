# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Mastodon's own rules lead for each of its three uses of Redis; used by the subsets redis and sidekiq.

Source: mastodon/mastodon, lib/mastodon/redis_config.rb up to 4.2, lib/mastodon/redis_configuration.rb since 4.3. Up to 4.2 there are no
Sentinels and no users, and one key of a use is enough to leave the base behind; since 4.3 a use without host and Sentinels is the base.
"""

from __future__ import annotations

import re

from typing import Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import effective_settings
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.messages import demand_known, is_url
from ansible_collections.fediops.mastodon.plugins.module_utils._redis import Redis, RedisError, Target, from_url

USES = (("app", ""), ("sidekiq", "SIDEKIQ_"), ("cache", "CACHE_"))
MAX_SENTINELS = 5


class Place(NamedTuple):
    """A server, or the Sentinels that know it: then the host of `target` is only the name of the master."""

    target: Target
    sentinels: tuple[Target, ...] = ()


def place(settings: dict[str, str], use: str, number: tuple[int, ...]) -> Place:
    """Where a use ("", SIDEKIQ_ or CACHE_) goes in this version of Mastodon; RedisError(configuration) when the app could not know."""
    found = _since_4_3(settings, use, number) if number >= (4, 3) else _until_4_2(settings, use)
    return found if found is not None else place(settings, "", number)


def _until_4_2(settings: dict[str, str], use: str) -> Place | None:
    if settings.get(use + "REDIS_URL", "").strip():
        return Place(from_url(settings[use + "REDIS_URL"]))
    names = [use + "REDIS_" + part for part in ("HOST", "PORT", "DB", "PASSWORD")]
    if use and not any(name in settings for name in names):
        return None
    host, port, database, password = (settings.get(name, "") for name in names)
    return Place(_target(use, host, port, database, "", password))


def _since_4_3(settings: dict[str, str], use: str, number: tuple[int, ...]) -> Place | None:
    prefix = use + "REDIS_"
    if prefix + "URL" in settings:  # even when it is empty: the app does not start then
        return Place(from_url(settings[prefix + "URL"], lone_user_is_password=_redis_client(use, number)))
    user, password = settings.get(prefix + "USER", ""), settings.get(prefix + "PASSWORD", "")
    database = settings.get(prefix + "DB", "")
    name, listed = settings.get(prefix + "SENTINEL_MASTER", "").strip(), settings.get(prefix + "SENTINELS", "")
    if name and listed:
        who = settings.get(prefix + "SENTINEL_USERNAME", user), settings.get(prefix + "SENTINEL_PASSWORD", password)
        usual = settings.get(prefix + "SENTINEL_PORT", "26379")
        sentinels = []
        for each in listed.split(",")[:MAX_SENTINELS]:
            host, _colon, port = each.strip().partition(":")
            sentinels.append(_target(use, host, port or usual, "", who[0], who[1], "SENTINELS"))
        return Place(_target(use, name, "", database, user, password, "SENTINEL_MASTER"), tuple(sentinels))
    host = settings.get(prefix + "HOST", "" if use else "localhost").strip()
    if not host:
        if use:
            return None
        raise RedisError("configuration", "REDIS_HOST is empty; without the key it would be localhost")
    return Place(_target(use, host, settings.get(prefix + "PORT", ""), database, user, password))


def _redis_client(use: str, number: tuple[int, ...]) -> bool:
    """Whether the gem redis-client makes this connection: Sidekiq's since Mastodon 4.4, all since 4.6; else it is redis-rb 4."""
    return number >= (4, 6) or (number >= (4, 4) and use == "SIDEKIQ_")


def _target(use: str, host: str, port: str, database: str, user: str, password: str, key: str = "HOST") -> Target:
    if is_url(host):
        raise RedisError("configuration", "%sREDIS_%s holds a URL or credentials instead of a plain name; URLs go into %sREDIS_URL"
                         % (use, key, use))
    if not re.match(r"^(?:\d{1,5})?$", port) or not re.match(r"^(?:\d{1,6})?$", database):
        raise RedisError("configuration", "%sREDIS_PORT or %sREDIS_DB is not a number" % (use, use))
    return Target(host or "localhost", int(port or 6379), "", int(database or 0), user, password, False)


def resolve(host: Host, install: dict[str, Any], use: str) -> Target:
    """The server to ask: for Sentinels the master that the first of them names that knows one."""
    number = tuple(install.get("version", {}).get("number", (99,)))
    demand_known(install, "REDIS_", use + "REDIS_")
    found = place(effective_settings(install), use, number)
    found = found._replace(target=found.target._replace(forgiving=not _redis_client(use, number)))
    if not found.sentinels:
        return found.target
    failure: RedisError | None = None
    # By default the app gives the Sentinels the password of the server; redis-rb 4 drops it, and most Sentinels know none.
    for each in dict.fromkeys(one for full in found.sentinels for one in (full, full._replace(user="", password=""))):
        try:
            with Redis(host.connect, each, host.left(30.0)) as link:
                answer = link.ask(("SENTINEL", "get-master-addr-by-name", found.target.host))[0]
            if isinstance(answer, list) and len(answer) == 2 and str(answer[1]).isdigit():
                return found.target._replace(host=str(answer[0]), port=int(answer[1]))
            failure = RedisError("configuration", "the Sentinel at %s:%d knows no master of the configured name" % (each.host, each.port))
        except RedisError as problem:
            failure = problem
    raise failure or RedisError("configuration", "no Sentinel is named")
