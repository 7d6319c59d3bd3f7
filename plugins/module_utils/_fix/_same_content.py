# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two databases hold the same, whatever the encoding of each (private, may change any time).

Of every table the number of rows and the sum of the hashes of their texts in UTF-8: independent of the order of rows, and different when
one byte of one row is. Sequences by their values, large objects by number, and every relation, index, constraint, function and trigger by
name. Materialized views are made anew by a restore and only compared by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._fix._superuser import name

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import Server
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

_OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'"
_TABLES = """SELECT n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'S') AND %s ORDER BY 1, 2""" % _OURS  # noqa: S608  constants
# bit(64) is read as a signed number; numeric holds the sum of any number of them.
_ROW = """md5(convert_to(("the row")::text, 'UTF8'))"""
_CONTENT = ("SELECT count(*)::text, coalesce(sum(('x' || left(" + _ROW + ", 16))::bit(64)::bigint::numeric), 0)::text,"  # noqa: S608  quoted
            " coalesce(sum(('x' || right(" + _ROW + ", 16))::bit(64)::bigint::numeric), 0)::text FROM ONLY %s AS \"the row\"")
_SEQUENCE = "SELECT last_value::text, is_called::text FROM %s"
_NAMES = ("SELECT 'relation ' || n.nspname || '.' || c.relname || ' ' || c.relkind::text FROM pg_class c"  # noqa: S608  constants
          " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE " + _OURS + " UNION ALL"
          " SELECT 'constraint ' || n.nspname || '.' || c.relname || ' ' || k.conname FROM pg_constraint k"
          " JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE " + _OURS + " UNION ALL"
          " SELECT 'function ' || n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' FROM pg_proc p"
          " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE " + _OURS + " UNION ALL SELECT 'trigger ' || c.relname || ' ' || t.tgname"
          " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal UNION ALL"
          " SELECT 'extension ' || extname || ' ' || extversion FROM pg_extension UNION ALL"
          " SELECT 'large objects ' || count(*) FROM pg_largeobject_metadata")


class Table(NamedTuple):
    """A table or sequence: quoted name with its schema, and kind."""

    name: str
    kind: str


def tables(host: Host, server: Server, database: str) -> list[Table]:
    return [Table("%s.%s" % (name(row[0]), name(row[1])), row[2]) for row in server.rows(host, database, _TABLES)]


def differences(host: Host, server: Server, one: str, other: str, say: Callable[[str], None]) -> tuple[list[str], int, int]:
    """Sentences about what differs (none: they hold the same), and how many tables and rows were compared."""
    found = _names(host, server, one, other)
    known = tables(host, server, one)
    if not found and tables(host, server, other) != known:
        found = ["the tables have not the same names"]
    rows = 0
    for table in [] if found else known:
        question = (_SEQUENCE if table.kind == "S" else _CONTENT) % table.name
        mine, theirs = server.rows(host, one, question), server.rows(host, other, question)
        if mine != theirs:
            found.append("%s: %s rows in %s, %s in %s%s" % (table.name, mine[0][0], one, theirs[0][0], other,
                                                            ", with other content" if mine[0][0] == theirs[0][0] else ""))
        elif table.kind == "r":
            rows += int(mine[0][0] or 0)
            if int(mine[0][0] or 0) > 1000000:
                say("%s is the same: %s rows" % (table.name, mine[0][0]))
    return found, sum(table.kind == "r" for table in known), rows


def _names(host: Host, server: Server, one: str, other: str) -> list[str]:
    mine, theirs = ({row[0] for row in server.rows(host, database, _NAMES)} for database in (one, other))
    return ["only one of both has %s" % each for each in sorted(mine ^ theirs)[:10]]
