# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let Redis save again: once a snapshot succeeds it takes writes (private, may change any time).

The refusal itself (stop-writes-on-bgsave-error) is never switched off: queued jobs would be lost at the next restart.
"""

from __future__ import annotations

import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import compose
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.redis_target import USES, resolve
from ansible_collections.fediops.mastodon.plugins.module_utils._redis import READERS, ErrorReply, Redis, RedisError, Target, information

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

SNAPSHOT_SECONDS = 900.0
CONNECT_SECONDS = 10.0


class Saver(Redis):
    """A connection of the app that may also ask for a snapshot."""

    commands = READERS | {"BGSAVE"}


def unsaved(change: Change) -> list[Target]:
    """The servers of the app that refuse writes because they could not save."""
    found: dict[Target, bool] = {}
    for _name, prefix in USES:
        try:
            target = compose.reached(change.install, resolve(Host(time.monotonic() + CONNECT_SECONDS), change.install, prefix))
            if target not in found:
                found[target] = _is_bad(_persistence(target))
        except RedisError:
            continue
    return [target for target, bad in found.items() if bad]


def save(change: Change, target: Target) -> str:
    """Ask for a snapshot and wait for it; "" when it is done, else why not."""
    if not change.before("redis_saved", "Redis at %s: snapshot (BGSAVE), so that it takes writes again" % target.label):
        return ""
    end = time.monotonic() + SNAPSHOT_SECONDS
    try:
        before = _persistence(target)
        with _connect(target) as link:
            reply = link.ask(("BGSAVE", "SCHEDULE"))[0]
        if isinstance(reply, ErrorReply) and "in progress" not in reply:
            return "Redis at %s answered BGSAVE with %s; ask its administrator for a snapshot" % (target.label, reply.code)
        change.say("waiting until Redis at %s has saved" % target.label)
        while time.monotonic() < end:
            now = _persistence(target)
            idle = now.get("rdb_bgsave_in_progress") == "0" and now.get("aof_rewrite_in_progress", "0") == "0"
            if idle and not _is_bad(now):
                return ""
            if idle and now.get("rdb_last_bgsave_status") == "err" and _tried(before, now, end):
                return "Redis at %s still cannot save its snapshot; its log says why" % target.label
            time.sleep(0.5)
    except RedisError as problem:
        return str(problem)
    return "Redis at %s did not save within %d s" % (target.label, SNAPSHOT_SECONDS)


def _tried(before: dict[str, str], now: dict[str, str], end: float) -> bool:
    """Whether the snapshot that failed is the one that we asked for: a forked child has come and gone."""
    return now.get("total_forks", "") != before.get("total_forks", "") or time.monotonic() > end - SNAPSHOT_SECONDS + 10


def _is_bad(persistence: dict[str, str]) -> bool:
    return "err" in (persistence.get("rdb_last_bgsave_status"), persistence.get("aof_last_write_status"))


def _connect(target: Target) -> Saver:
    return Saver(Host(time.monotonic() + CONNECT_SECONDS).connect, target, CONNECT_SECONDS)


def _persistence(target: Target) -> dict[str, str]:
    with _connect(target) as link:
        raw: Any = link.ask(("INFO",))[0]
    return information(raw) if isinstance(raw, str) and not isinstance(raw, ErrorReply) else {}
