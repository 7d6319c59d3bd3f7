# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""repair_indexes in a box: what amcheck finds is built anew, what is there twice is only named, what is broken off leaves nothing behind.

The cure of a lost page is that of the fault index_page_lost (test_remediation).
"""

from __future__ import annotations

import time

from collections.abc import Iterator
from pathlib import Path

import pytest

from live import SUITES, Box
from one_fix import apply, finished, foresee, module
from proof import prove

INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
EXTENSIONS = "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'"


def lose(box: Box, index: str, statement: str) -> None:
    """A row that the index does not know of: as a lost write, or an order of letters that changed, leaves it."""
    state = f"UPDATE pg_index SET indisready = %s, indisvalid = %s WHERE indexrelid = '{index}'::regclass"
    box.psql(f"{state % ('false', 'false')}; {statement}; {state % ('true', 'true')}")


@pytest.fixture(params=SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    with Box.start(request.param) as started:
        started.ready()
        yield started


@pytest.mark.thorough
def test_rows_that_are_there_twice_are_named_and_kept(box: Box, tmp_path: Path) -> None:
    columns = "email, account_id, created_at, updated_at"
    lose(box, "index_users_on_email", f"INSERT INTO users ({columns}) SELECT {columns} FROM users")
    for step in (foresee(box, tmp_path, "repair_indexes"), apply(box, tmp_path, "repair_indexes")[0]):
        assert step["state"] == "refused" and step["reason"].endswith(
            "index_users_on_email: 1 values are more than once in public.users"
        )
    assert (box.psql("SELECT count(*) FROM users"), box.psql(INVALID), box.psql(EXTENSIONS)) == ("2", "0", "0")


@pytest.mark.thorough
def test_what_is_broken_off_leaves_nothing_behind(box: Box, tmp_path: Path) -> None:
    columns = "account_id, text, created_at, updated_at"
    lose(box, "index_statuses_on_account_id", f"INSERT INTO statuses ({columns}) SELECT {columns} FROM statuses LIMIT 1")
    foreseen = foresee(box, tmp_path, "repair_indexes")
    assert [each["what"].split(" (")[0] for each in foreseen["changes"]] == [
        "index public.index_statuses_on_account_id of public.statuses is built anew"
    ], foreseen
    # REINDEX CONCURRENTLY waits for whoever has read the table before it.
    hold = "BEGIN; SELECT count(*) FROM statuses; SELECT pg_sleep(25)"
    box.run(f"setsid runuser -u postgres -- psql -XAtq -d mastodon_production -c '{hold}' >/dev/null 2>&1 &")
    time.sleep(1)
    begun = module(box, tmp_path, "mastodon_fix", steps=[{"fix": "repair_indexes"}], wait_seconds=6)
    assert begun["working"] and box.psql(INVALID) == "1", begun
    box.run(["kill", "-9", str(begun["run"]["pid"])])
    box.run(f"echo 1 > /var/lib/fediops.mastodon/runs/{begun['run']['id']}/lease")
    done = finished(box, tmp_path, module(box, tmp_path, "mastodon_fix", steps=[{"fix": "repair_indexes"}]))
    assert done["run"]["recovered"] == [begun["run"]["id"]], done
    assert done["run"]["steps"][0]["state"] == "applied", done
    finished(box, tmp_path, module(box, tmp_path, "mastodon_fix", state="settled", run=done["run"]["id"]))
    assert (box.psql(INVALID), box.psql(EXTENSIONS)) == ("0", "0")
    assert apply(box, tmp_path, "repair_indexes")[0]["state"] == "nothing"
    prove(box)
