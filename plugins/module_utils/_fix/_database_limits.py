# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many connections PostgreSQL gives and how many are taken, also when it has none left for Mastodon (private, may change any time).

Then only its superuser still gets in, by the slots that are reserved for it, over the socket on the database's own host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _direct
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import SOCKET_DIRECTORY, PostgresError, Target

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

ANSWER_SECONDS = 5.0
QUESTION = """SELECT current_setting('max_connections'), current_setting('superuser_reserved_connections'),
 (SELECT sum(numbackends) FROM pg_stat_database)"""


def limits(change: Change) -> dict[str, Any]:
    """max, reserved and used; Refused when nobody tells."""
    database = change.facts.get("database", {})
    told = database.get("connections")
    given = str(change.options.get("max_connections") or "")
    if told:
        return dict(told)
    if given.isdigit() and int(given):
        return {"max": int(given), "reserved": 3, "used": 0}
    why = "no unit of this host runs PostgreSQL"
    for unit in change.units("database"):
        status = change.host.stat("/proc/%d" % unit["pid"]) if "pid" in unit else None
        owner = change.host.user(status.st_uid) if status is not None else None
        if owner is None:
            continue
        lines = (change.host.maybe(change.host.link("/proc/%d/cwd" % unit["pid"]) + "/postmaster.pid", 4096) or "").splitlines()
        port = lines[3].strip() if len(lines) > 3 else ""
        place = lines[4].strip() if len(lines) > 4 and lines[4].startswith("/") else SOCKET_DIRECTORY
        if not port.isdigit() or not str(database.get("address", "")).endswith(":" + port):
            continue  # another cluster of this host
        try:
            with _direct.session(change.host, Target(place, int(port), owner.user, "", "postgres"), owner, ANSWER_SECONDS) as session:
                row = [int(value or 0) for value in session.rows(QUESTION)[0]]
                return {"max": row[0], "reserved": row[1], "used": row[2]}
        except (PostgresError, HostError, OSError) as problem:
            why = "its superuser was not let in (%s)" % problem
    raise Refused("max_connections of PostgreSQL is not known: %s; give it with the option max_connections" % why)
