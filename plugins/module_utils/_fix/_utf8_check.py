# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes in a database without an encoding (SQL_ASCII) that are not UTF-8: where, and in how many rows (private, may change any time)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._fix._same_content import tables
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._superuser import literal, name
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._contained_database import Server
    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host

MAX_NAMED = 5
# PostgreSQL 9.6 to 15 have no test of an encoding that does not raise; a function of the session's own is gone with it.
_FUNCTION = """CREATE FUNCTION pg_temp.broken(value text) RETURNS boolean LANGUAGE plpgsql AS
 $$BEGIN PERFORM convert_from(convert_to(value, 'SQL_ASCII'), 'UTF8'); RETURN false;
 EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN RETURN true; END$$"""
# What has no byte above 127 needs no look, and that is nearly everything.
_ROWS = """SELECT count(*) FROM ONLY %s AS "the row" WHERE ("the row")::text ~ '[^\\x01-\\x7f]' AND pg_temp.broken(("the row")::text)"""
_COLUMN = """SELECT count(*) FROM ONLY %s AS "the row" WHERE pg_temp.broken(("the row").%s::text)"""
_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"


def not_utf8(host: Host, server: Server, database: str) -> list[str]:
    """`"schema"."table"."column" (3 rows)` of each column that holds such bytes, the first five tables of them."""
    known = [table.name for table in tables(host, server, database) if table.kind == "r"]
    broken = [table for table, count in zip(known, _counts(host, server, database, [_ROWS % table for table in known])) if count]
    found: list[str] = []
    for table in broken[:MAX_NAMED]:
        columns = [name(row[0]) for row in server.rows(host, database, _COLUMNS % literal(table))]
        counts = _counts(host, server, database, [_COLUMN % (table, column) for column in columns])
        found += ["%s.%s (%d rows)" % (table, column, count) for column, count in zip(columns, counts) if count]
    if len(broken) > MAX_NAMED:
        found.append("%d more tables" % (len(broken) - MAX_NAMED))
    return found


def _counts(host: Host, server: Server, database: str, questions: Sequence[str]) -> list[int]:
    """One number a question, all in one session."""
    if not questions:
        return []
    # plpgsql finds the functions of pg_catalog through the search path of the session.
    try:
        numbers = server.lines(host, database, [_FUNCTION, *questions])
    except HostError as problem:
        raise HostError("the bytes of database %s could not be checked: %s" % (database, problem)) from None
    if len(numbers) != len(questions):
        raise HostError("the bytes of database %s could not be checked: %d answers to %d questions" % (
            database, len(numbers), len(questions)))
    return [int(number) for number in numbers]
