# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one list of fixes: what each may do at most (impact) and when in a run it is done (phase). Private, may change any time."""

from __future__ import annotations

from typing import NamedTuple

# What a fix may do, from harmless to heavy: start or reload; restart; configuration, packages, swap, assets (the previous state is kept);
# delete what Mastodon can fetch again; migrations; rewrite the database.
IMPACTS = ("start", "restart", "change", "prune", "schema", "rebuild")

# Room first, then what all else stands on, services last and each at most once.
PHASES = ("disk", "memory", "stores", "schema", "assets", "configuration", "services")


class Fix(NamedTuple):
    """impact and phase of a fix; once_a_database: one host is enough for all that share the database."""

    impact: str
    phase: str
    once_a_database: bool = False


FIXES = {
    "reclaim_disk": Fix("prune", "disk"),
    "add_swap": Fix("change", "memory"),
    "let_redis_save": Fix("change", "stores"),
    "fix_redis_policy": Fix("change", "stores"),
    "convert_encoding": Fix("rebuild", "stores", once_a_database=True),
    "repair_indexes": Fix("rebuild", "stores", once_a_database=True),
    "migrate_database": Fix("schema", "schema", once_a_database=True),
    "install_node_modules": Fix("change", "assets"),
    "rebuild_assets": Fix("change", "assets"),
    "copy_assets": Fix("change", "assets"),
    "set_rails_env": Fix("change", "configuration"),
    "tune_concurrency": Fix("change", "configuration"),
    "raise_proxy_timeouts": Fix("change", "configuration"),
    "enable_request_log": Fix("change", "configuration"),
    "install_media_tools": Fix("change", "configuration"),
    "fix_media_permissions": Fix("change", "configuration"),
    "allow_writes": Fix("change", "configuration"),
    "open_home": Fix("change", "configuration"),
    "set_trusted_proxies": Fix("change", "configuration"),
    "cover_queues": Fix("change", "configuration"),
    "set_stop_timeout": Fix("change", "configuration"),
    "reset_log_level": Fix("change", "configuration"),
    "sync_clock": Fix("change", "configuration"),
    "restart_services": Fix("restart", "services"),
    "start_services": Fix("start", "services"),
}


# Where Mastodon runs in containers, what these would change is in the image. They are refused, with what to do in the place of it
# (English, French); all others know containers or have to do with the host alone.
_IMAGE = (
    "it is part of the image, and what is changed in a running container is gone when it is created anew: pull the right image tag, then "
    "docker compose up -d",
    "cela fait partie de l'image, et ce qu'on change dans un conteneur disparaît quand il est recréé : tirez le bon tag de l'image, puis "
    "docker compose up -d",
)
NOT_IN_CONTAINERS = {
    "install_node_modules": _IMAGE,
    "rebuild_assets": _IMAGE,
    "copy_assets": _IMAGE,
    "install_media_tools": _IMAGE,
}
_OTHER = (
    "this fix was made for services of systemd and files of the host",
    "ce remède est fait pour des services de systemd et des fichiers de l'hôte",
)
# They know containers of a compose project, or have to do with the host alone. Whatever is not named here is refused, also a new fix.
_OF_A_PROJECT = frozenset(("fix_media_permissions", "set_rails_env", "set_trusted_proxies", "reset_log_level",
                           "tune_concurrency", "convert_encoding", "repair_indexes", "let_redis_save", "fix_redis_policy", "cover_queues",
                           "allow_writes", "set_stop_timeout", "open_home"))
ALSO_IN_CONTAINERS = _OF_A_PROJECT | frozenset((
    "reclaim_disk", "add_swap", "sync_clock", "raise_proxy_timeouts", "enable_request_log", "migrate_database", "restart_services",
    "start_services"))


def why_not_in_containers(fix: str, composed: bool) -> tuple[str, str] | None:
    """Why it is not done where Mastodon runs in containers, those of a compose project or others (English, French); None when it is."""
    if fix in _OF_A_PROJECT and not composed:
        return _OTHER
    return None if fix in ALSO_IN_CONTAINERS else NOT_IN_CONTAINERS.get(fix, _OTHER)
