# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which PostgreSQL can ask Mastodon who it is, against the real server and PgBouncer: reached as the app reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from live import SUITES, Box, diagnose

PASSWORD = "standin-database-password"
REACHED = {"db_connection_refused", "db_auth_failed", "encoding_not_utf8", "pending_migrations"}
SUBSETS = '{"mastodon_gather_subset": ["database", "environment", "services", "logs"]}'


@pytest.fixture(scope="module", params=SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    with Box.start(request.param) as started:
        started.ready()
        started.run("cp $(ls /etc/postgresql/*/main/pg_hba.conf) /root/pg_hba.conf")
        yield started


def set_method(box: Box, method: str) -> None:
    """Let the role log in over TCP by this method only, its password stored in the form the method needs."""
    stored = "md5" if method == "md5" else "scram-sha-256"
    box.psql(f"SET password_encryption = '{stored}'; ALTER ROLE mastodon PASSWORD '{PASSWORD}'")
    box.run(
        "hba=$(ls /etc/postgresql/*/main/pg_hba.conf);"
        f" (echo 'host all all 127.0.0.1/32 {method}'; echo 'hostssl all all ::1/128 {method}'; grep '^local' /root/pg_hba.conf) >$hba;"
        " systemctl reload postgresql"
    )


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password", "trust"])
def test_passwords(box: Box, tmp_path: Path, method: str) -> None:
    set_method(box, method)
    box.set_env(DB_HOST="127.0.0.1", DB_PORT="5432", DB_PASS=PASSWORD, DATABASE_URL=None, DB_SSLMODE=None)
    diagnosis, output = diagnose(box, tmp_path, "-e", SUBSETS)
    assert set(diagnosis["hosts"][box.name]["passed"]) >= REACHED, output


def test_tls_is_used_where_it_is_demanded(box: Box, tmp_path: Path) -> None:
    set_method(box, "scram-sha-256")
    box.set_env(DB_HOST="::1", DB_PORT="5432", DB_PASS=PASSWORD, DATABASE_URL=None, DB_SSLMODE="require")
    diagnosis, output = diagnose(box, tmp_path, "-e", SUBSETS)
    assert set(diagnosis["hosts"][box.name]["passed"]) >= REACHED, output


def test_database_url_wins(box: Box, tmp_path: Path) -> None:
    set_method(box, "scram-sha-256")
    url = f"postgresql://mastodon:{PASSWORD}@127.0.0.1:5432/mastodon_production?sslmode=disable"
    box.set_env(DB_HOST="192.0.2.1", DB_PORT="1", DB_PASS="", DATABASE_URL=url, DB_SSLMODE=None)
    diagnosis, output = diagnose(box, tmp_path, "-e", SUBSETS)
    assert set(diagnosis["hosts"][box.name]["passed"]) >= REACHED, output


@pytest.mark.parametrize(("password", "words"), [("", "DB_PASS is empty"), ("wrong-password", "authentication failed")])
def test_wrong_password(box: Box, tmp_path: Path, password: str, words: str) -> None:
    set_method(box, "scram-sha-256")
    box.set_env(DB_HOST="127.0.0.1", DB_PORT="5432", DB_PASS=password, DATABASE_URL=None, DB_SSLMODE=None)
    diagnosis, output = diagnose(box, tmp_path, "-e", SUBSETS)
    roots = {each["id"]: each for each in diagnosis["hosts"][box.name]["findings"] if each["rank"] == 1}
    assert "db_auth_failed" in roots, output
    assert words in roots["db_auth_failed"]["evidence"][0]["value"]
    assert "wrong-password" not in output


def test_through_pgbouncer(box: Box, tmp_path: Path) -> None:
    set_method(box, "scram-sha-256")
    box.run("systemctl restart pgbouncer")
    box.set_env(DB_HOST="127.0.0.1", DB_PORT="6432", DB_PASS=PASSWORD, DATABASE_URL=None, DB_SSLMODE=None)
    diagnosis, output = diagnose(box, tmp_path, "-e", SUBSETS)
    assert set(diagnosis["hosts"][box.name]["passed"]) >= REACHED, output
