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
    "convert_encoding": Fix("rebuild", "stores", once_a_database=True),
    "migrate_database": Fix("schema", "schema", once_a_database=True),
    "rebuild_assets": Fix("change", "assets"),
    "copy_assets": Fix("change", "assets"),
    "set_rails_env": Fix("change", "configuration"),
    "tune_concurrency": Fix("change", "configuration"),
    "raise_proxy_timeouts": Fix("change", "configuration"),
    "enable_request_log": Fix("change", "configuration"),
    "install_media_tools": Fix("change", "configuration"),
    "fix_media_permissions": Fix("change", "configuration"),
    "allow_writes": Fix("change", "configuration"),
    "cover_queues": Fix("change", "configuration"),
    "restart_services": Fix("restart", "services"),
    "start_services": Fix("start", "services"),
}
