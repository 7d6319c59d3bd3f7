# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Corrupt indexes of a database, by PostgreSQL's own amcheck, and rows that a unique one holds twice (private, may change any time).

amcheck is made and taken back in one transaction, so the database is left as it was (https://www.postgresql.org/docs/current/amcheck.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._superuser import literal, name
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import PostgresError

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import Server
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

_EXTENSION = """SELECT coalesce(max(n.nspname), ''), (SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck')::text
 FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'"""
# Every row of the table must be found in the index, too: an index that lost rows is as bad as one in the wrong order.
_FUNCTION = """CREATE FUNCTION pg_temp.broken(which oid) RETURNS text LANGUAGE plpgsql AS
 $$BEGIN PERFORM %s.bt_index_check(which::regclass, true); RETURN ''; EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END$$"""
_CHECK = """SELECT concat_ws(E'\\t', i.oid, format('%%I.%%I', n.nspname, i.relname), format('%%I.%%I', n.nspname, t.relname),
 CASE WHEN x.indisunique THEN 'unique' ELSE '' END, translate(pg_temp.broken(i.oid), E'\\t\\n\\r', '   '))
 FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = i.relnamespace
 JOIN pg_am a ON a.oid = i.relam
 WHERE a.amname = 'btree' AND i.relkind = 'i' AND i.relpersistence = 'p' AND x.indisvalid AND x.indisready AND NOT x.indisexclusion
 AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' %s ORDER BY i.relname"""
_KEYS = """SELECT pg_get_indexdef(x.indexrelid, k, true), coalesce(pg_get_expr(x.indpred, x.indrelid, true), '')
 FROM pg_index x, generate_series(1, x.indnkeyatts) AS k WHERE x.indexrelid = %d ORDER BY k"""
_UNFINISHED = """SELECT format('%%I.%%I', n.nspname, i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
 JOIN pg_namespace n ON n.oid = i.relnamespace WHERE NOT x.indisvalid AND quote_ident(n.nspname) = %s
 AND i.relname ~ '_cc(new|old)[0-9]*$' AND strpos(%s, regexp_replace(i.relname, '_cc(new|old)[0-9]*$', '')) = 1"""
_BY_THE_TABLE = ("SET enable_indexscan = off", "SET enable_bitmapscan = off", "SET enable_indexonlyscan = off")


class Corrupt(NamedTuple):
    """An index that amcheck does not pass; names are quoted, `problem` is what PostgreSQL said."""

    oid: int
    name: str
    table: str
    unique: bool
    problem: str


def corrupt(host: Host, server: Server, database: str, only: list[str] | None = None) -> list[Corrupt]:
    """The B-tree indexes of the app (or those named in `only`) that are corrupt; Refused when amcheck is not installed."""
    schema, available = server.rows(host, database, _EXTENSION)[0]
    if not schema and available == "0":
        raise Refused("amcheck, which tells what is corrupt, is not installed beside PostgreSQL: install its contrib modules")
    wanted = "AND format('%%I.%%I', n.nspname, i.relname) IN (%s)" % ", ".join(map(literal, only or [""])) if only is not None else ""
    create = [] if schema else ["CREATE EXTENSION amcheck SCHEMA public"]
    statements = ["BEGIN", *create, _FUNCTION % name(schema or "public"), _CHECK % wanted, "ROLLBACK"]
    found = []
    for line in _lines(host, server, database, statements):
        oid, index, table, unique, problem = line.split("\t")
        if problem:
            found.append(Corrupt(int(oid), index, table, unique == "unique", problem[:300]))
    return found


def twice(host: Host, server: Server, database: str, index: Corrupt) -> int:
    """How many values that a unique index allows once are more than once in its table, read past all indexes."""
    if not index.unique:
        return 0
    try:
        keys = server.rows(host, database, _KEYS % index.oid)
    except PostgresError as problem:
        raise HostError("the keys of %s could not be read: %s" % (index.name, problem)) from None
    conditions = ["(%s) IS NOT NULL" % key[0] for key in keys] + ["(%s)" % keys[0][1]] * bool(keys[0][1])
    question = "SELECT count(*) FROM (SELECT 1 FROM ONLY %s WHERE %s GROUP BY %s HAVING count(*) > 1) AS twice" % (  # noqa: S608
        index.table, " AND ".join(conditions), ", ".join("(%s)" % key[0] for key in keys))
    return int(_lines(host, server, database, [*_BY_THE_TABLE, question])[0])


def leftovers(host: Host, server: Server, database: str, index: str) -> list[str]:
    """Quoted names of the invalid indexes that a broken-off REINDEX CONCURRENTLY of this one left (`…_ccnew`, `…_ccold`)."""
    schema, _point, plain = index.rpartition(".")
    return [row[0] for row in server.rows(host, database, _UNFINISHED % (literal(schema), literal(plain.strip('"'))))]


def _lines(host: Host, server: Server, database: str, statements: list[str]) -> list[str]:
    try:
        return server.lines(host, database, statements)
    except HostError as problem:
        raise HostError("the indexes of %s could not be checked: %s" % (database, problem)) from None
