# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply the pending migrations: over a direct connection, in two phases, alone, and with every process restarted after it.

Options: `dump` (true, false or a directory), `direct_host` and `direct_port` (PostgreSQL itself, where a pooler elsewhere is before it),
`release_lock` (true: end the session that holds the lock of Rails' migrations, when no migration runs any more).
Sources: docs.joinmastodon.org, Upgrading and Scaling (PgBouncer); lib/tasks/db.rake of each release (db:pre_migration_check).
"""

from __future__ import annotations

import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import services
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Asked, Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app, _direct, _dump, _leftovers, _migrate_container
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import survey
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.messages import harmless
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._postgres import Postgres

APP_ROLES = ("web", "sidekiq", "streaming")
SECONDS = 24 * 3600.0  # some migrations of big servers take hours; one that is killed half way helps nobody
LEFT_BEHIND_SECONDS = 6 * 3600.0
POOLED_SECONDS = 20.0
UNITS_SECONDS = 60.0
BOTH_WERE_APPLIED = ("before", "after")


def fix(change: Change) -> None:
    database = change.facts.get("database") or {}
    schema = _judged(database)
    if schema is not None and not schema["pending"]:
        return
    if "compose" in change.install:
        _migrate_container.migrate(change, schema, why_it_failed)
        return
    direct = _direct.find(change)
    try:
        with _direct.locked(change, direct) as held:
            before, after, newest = pending(change, held)
            if not before and not after:
                return
            _demand_no_other_migration(change, held, direct)
            _migrate(change, held, direct, before, after, newest)
    except PostgresError as problem:
        raise HostError("PostgreSQL at %s gave up: %s" % (direct.target.label, harmless(str(problem), change.install))) from None


def pending(change: Change, held: Postgres) -> tuple[list[str], list[str], str]:
    """Migrations that the database lacks, as `number name`, of db/migrate and of db/post_migrate; and the newest number that it has."""
    applied = {row[0] or "" for row in held.rows("SELECT version FROM schema_migrations")}
    lacking = []
    for folder in ("migrate", "post_migrate"):
        names = change.host.names("%s/db/%s" % (change.install["root"], folder))
        lacking.append(sorted(name[:-3].replace("_", " ", 1) for name in names
                              if re.match(r"^\d{14}_\w+\.rb$", name) and name[:14] not in applied))
    return lacking[0], lacking[1], max(applied) if applied else ""


def phases(before: list[str], after: list[str], newest: str, number: tuple[int, ...]) -> tuple[str, ...]:
    """What to run: `all` at once, `before` and then `after` the deployment, or `stopped`: all at once while no process works.

    db:pre_migration_check refuses SKIP_POST_DEPLOYMENT_MIGRATIONS when the schema is older than a release that the new one still knows.
    """
    if not before or not after:
        return ("all",)
    oldest = "20241007071624" if number[:2] >= (4, 6) else "20230907150100" if number[:2] >= (4, 4) else ""
    return ("stopped",) if newest < oldest else BOTH_WERE_APPLIED


def why_it_failed(output: str) -> str:
    """The line of db:migrate that tells what went wrong: behind `canceled:`, else the first of an exception, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for at, line in enumerate(lines[:-1]):
        if "migrations canceled:" in line:
            return lines[at + 1][:300]
    named = [line for line in lines if re.search(r"\b(?:PG|ActiveRecord|ActiveModel|Mastodon)::\w+|requires PostgreSQL|\w+Error\b", line)]
    return (named or lines[-1:] or ["it printed nothing"])[0][:300]


def _judged(database: dict[str, Any]) -> dict[str, Any] | None:
    """The subset's schema, None when it was not compared; Refused when migrating is not the cure."""
    if database.get("schema_missing"):
        raise Refused("the database %s was never set up: restore a backup, or RAILS_ENV=production bin/rails db:setup on a new server"
                      % database.get("name", ""))
    schema: dict[str, Any] | None = database.get("schema")
    if schema is not None and schema["ahead"]:
        raise Refused("the database is ahead of the code (it knows migration %s, the newest file is %s): "
                      "deploy the release that migrated it" % (schema["newest_applied"], schema["newest_file"]))
    if schema is not None and not schema["pending"]:
        return schema
    if database.get("version_supported") is False:
        raise Refused("PostgreSQL %s is older than this Mastodon takes (%s): upgrade PostgreSQL first" % (
            database.get("server_version"), database.get("minimum_version")))
    if database.get("standby"):
        raise Refused("this database is a standby, which takes no migrations: let Mastodon use the primary")
    return schema


def _demand_no_other_migration(change: Change, held: Postgres, direct: _direct.Direct) -> None:
    for holder in _direct.migration_lock_holders(held, direct.target.database):
        told = "session %s (%s for %s s, from %s)" % (holder["pid"], holder["state"], holder["seconds"], holder["client"])
        if str(change.options.get("release_lock", "")).lower() not in ("true", "yes", "1"):
            raise Refused("the lock of migrations is held by %s: wait for the migration that runs; when none does, one that went through "
                          "PgBouncer left it: give release_lock=true" % told)
        if holder["state"] != "idle":
            raise Refused("the lock of migrations is held by %s, which is at work: wait until it ends" % told)
        if change.note("lock of migrations", "held by " + told, "released") and held.rows(
                "SELECT pg_terminate_backend(%d)" % int(holder["pid"])) != [["t"]]:
            raise HostError("the lock of migrations could not be taken from %s" % told)


def _migrate(change: Change, held: Postgres, direct: _direct.Direct, before: list[str], after: list[str], newest: str) -> None:
    owner = change.owner()
    number = tuple(change.install.get("version", {}).get("number", (0,)))
    order = phases(before, after, newest, number)
    dump_path = _dumped(change, held, direct)
    units = [(unit["role"], unit["name"]) for unit in change.units(*APP_ROLES) if unit["intended"]]
    if order == ("stopped",):
        change.stop_during(name for _role, name in units)
    mark = _leftovers.new_mark()
    what = "bin/rails db:migrate on %s at %s (%s)" % (direct.target.database, direct.target.label, direct.way)
    change.before("migration", what, mark=mark, units=units)
    for name in before + after:
        change.note("migration " + name, "pending", "applied")
    backup = "the database as it was is in %s (pg_restore --clean)" % dump_path if dump_path else "only a backup brings the schema back"
    change.cannot_undo("migrations are not taken back; %s" % backup)
    change.step["restart_everywhere"] = True
    for phase in order:
        _run(change, direct, phase, mark, dump_path)
        if direct.pooled and not change.check_mode:
            _end_pooled_sessions(change, direct, held.backend)
        if phase == "before" and not change.check_mode:
            # What runs may still be the code of the old release, whose columns the second phase takes away.
            _restart(change.host, units, change.say)
    for _role, name in units:
        change.restart(name)
    if not change.check_mode:
        # Asked in a session of its own: the one with the lock may have been cut on its way in all those hours.
        with _direct.session(change.host, direct.target, owner) as fresh:
            left = [name for names in pending(change, fresh)[:2] for name in names]
        if left:
            raise HostError("db:migrate ended well, but %d migrations are still pending: %s" % (len(left), left[0]))


def _dumped(change: Change, held: Postgres, direct: _direct.Direct) -> str:
    directory = _dump.wanted_directory(change.options.get("dump"))
    if not directory:
        return ""
    major = int(change.facts["database"]["version_number"]) // 10000
    tool = _dump.program(change.host, "pg_dump", major)
    size = int(held.rows("SELECT pg_database_size(current_database())")[0][0] or 0)
    _dump.demand_room(change.host, [(directory, size, "the dump")])
    change.say("dumping %s, at most %s" % (direct.target.database, _app.size(size)))
    mark = _leftovers.new_mark()
    environment = dict(_direct.libpq(direct.target), **_leftovers.marked(mark))
    return _dump.dump(change, tool, directory, direct.target.database, change.owner(), environment, [], mark)


def _run(change: Change, direct: _direct.Direct, phase: str, mark: str, dump_path: str) -> None:
    owner = change.owner()
    own = _app.environment(change.install, owner, _app.search_path(change.host, change.install, owner))
    environment = dict(own, **direct.environment, **_leftovers.marked(mark))
    if phase == "before":
        environment["SKIP_POST_DEPLOYMENT_MIGRATIONS"] = "true"
    root = _app.mastodon(change)
    what = "migrate the database%s" % {"before": ", before the deployment", "after": ", after the deployment"}.get(phase, "")
    done = change.command([root + "/bin/rails", "db:migrate"], what, SECONDS, owner, environment, root, quiet=True)
    if done is not None and done.rc != 0:
        raise HostError("db:migrate failed (exit %s): %s%s" % (
            done.rc, change.clean(why_it_failed(done.output)), "; the dump of before is " + dump_path if dump_path else ""))


def _end_pooled_sessions(change: Change, direct: _direct.Direct, but: int) -> None:
    """A pooler keeps sessions with statements that were planned for the old columns: "cached plan must not change result type"."""
    with _direct.session(change.host, direct.target, change.owner()) as asked:
        if not _ended(asked, but):
            change.say("a session of the pooler was at work for %d s and keeps its old plans until it ends" % POOLED_SECONDS)


def _ended(asked: Postgres, but: int) -> bool:
    """`but`: the session that holds the lock of the database."""
    clock = asked.rows("SELECT now()::text")[0][0] or ""
    others = ("pg_stat_activity WHERE datname = current_database() AND usename = current_user"
              " AND pid NOT IN (pg_backend_pid(), %d) AND backend_start < '%s'" % (but, re.sub(r"[^\d:. +-]", "", clock)))
    end = time.monotonic() + POOLED_SECONDS
    while time.monotonic() < end:
        asked.rows("SELECT pg_terminate_backend(pid) FROM %s AND state = 'idle'" % others)  # noqa: S608  digits and signs only
        if asked.rows("SELECT count(*) FROM " + others) == [["0"]]:  # noqa: S608
            return True
        time.sleep(0.2)
    return False


def _restart(host: Host, units: list[tuple[str, str]], say: Callable[[str], None]) -> list[str]:
    asked = Asked()
    asked.restart = [name for _role, name in units]
    return services.carry_out(host, asked, survey(["install"], UNITS_SECONDS, 3600.0, "", {})[1], say)


def _after_interruption(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """What was migrated stays so. Let a command that was left behind end, then restart: no process may work with the columns of before."""
    _leftovers.wait_for(operation["mark"], LEFT_BEHIND_SECONDS, say, "db:migrate")
    problems = _restart(Host(time.monotonic() + SECONDS), [(str(role), str(name)) for role, name in operation["units"]], say)
    if problems:
        raise HostError("; ".join(problems))


UNDO = {"migration": _after_interruption, "dump_file": _dump.remove_torn}
