# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which PostgreSQL can ask Mastodon who it is, against the real server and PgBouncer: reached as the app reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from live import ONE_SUITE, Box, diagnose

PASSWORD = "standin-database-password"
REACHED = {"db_connection_refused", "db_auth_failed", "encoding_not_utf8", "pending_migrations"}
SUBSETS = '{"mastodon_gather_subset": ["database", "environment", "services", "logs"]}'


@pytest.fixture(scope="module", params=ONE_SUITE)
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


TLS = """
set -e
cd /etc/postgresql; rm -rf tls; install -d -o postgres -m 755 tls; cd tls
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=test-authority -keyout ca.key -out ca.crt 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=database.test -keyout server.key -out server.csr 2>/dev/null
echo subjectAltName=DNS:database.test >names
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile names -out server.crt 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=mastodon -keyout client.key -out client.csr 2>/dev/null
openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out client.crt 2>/dev/null
chown postgres: server.key; chmod 600 server.key; chmod 644 *.crt
grep -q database.test /etc/hosts || echo '127.0.0.1 database.test' >>/etc/hosts
grep -q elsewhere.test /etc/hosts || echo '127.0.0.1 elsewhere.test' >>/etc/hosts
for conf in /etc/postgresql/*/main; do
  printf "ssl = on\\nssl_cert_file = '%s/server.crt'\\nssl_key_file = '%s/server.key'\\nssl_ca_file = '%s/ca.crt'\\n" $PWD $PWD $PWD \
    >$conf/conf.d/tls.conf
done
install -d -o mastodon -g mastodon -m 700 /home/mastodon/.postgresql
install -o mastodon -g mastodon -m 644 ca.crt /home/mastodon/.postgresql/root.crt
systemctl restart postgresql
"""


def set_entry(box: Box, *entries: str) -> None:
    lines = "; ".join(f"echo '{entry}'" for entry in entries)
    box.psql(f"SET password_encryption = 'scram-sha-256'; ALTER ROLE mastodon PASSWORD '{PASSWORD}'")
    box.run(
        f"hba=$(ls /etc/postgresql/*/main/pg_hba.conf); ({lines}; grep '^local' /root/pg_hba.conf) >$hba; systemctl reload postgresql"
    )


def libpq(box: Box, words: str) -> bool:
    """Whether libpq itself, as the app's user, gets in with these words."""
    return box.run(["psql", "-XAtqw", "-c", "SELECT 1", words], "mastodon", False).rc == 0


def database(box: Box, folder: Path) -> tuple[bool, str]:
    """Whether the database was reached, and all that was printed."""
    diagnosis, output = diagnose(box, folder, "-e", SUBSETS)
    host = diagnosis["hosts"][box.name]
    return set(host["passed"]) >= REACHED, output


@pytest.fixture
def with_tls(box: Box) -> Box:
    box.run(TLS)
    return box


@pytest.mark.parametrize(("name", "reached"), [("database.test", True), ("elsewhere.test", False)])
def test_verify_full_with_the_root_of_the_apps_user(with_tls: Box, tmp_path: Path, name: str, reached: bool) -> None:
    set_entry(with_tls, "hostssl all all 127.0.0.1/32 scram-sha-256")
    with_tls.set_env(DB_HOST=name, DB_PORT="5432", DB_PASS=PASSWORD, DATABASE_URL=None, DB_SSLMODE="verify-full")
    words = f"host={name} user=mastodon dbname=mastodon_production password={PASSWORD} sslmode=verify-full"
    assert libpq(with_tls, words) is reached
    passed, output = database(with_tls, tmp_path)
    assert passed is reached, output


def test_a_client_certificate_opens_the_door(with_tls: Box, tmp_path: Path) -> None:
    set_entry(with_tls, "hostssl all all 127.0.0.1/32 cert")
    with_tls.run("install -o mastodon -m 600 /etc/postgresql/tls/client.crt /home/mastodon/.postgresql/postgresql.crt")
    with_tls.run("install -o mastodon -m 600 /etc/postgresql/tls/client.key /home/mastodon/.postgresql/postgresql.key")
    with_tls.set_env(DB_HOST="database.test", DB_PORT="5432", DB_PASS="", DATABASE_URL=None, DB_SSLMODE="require")
    passed, output = database(with_tls, tmp_path)
    with_tls.run("rm /home/mastodon/.postgresql/postgresql.crt /home/mastodon/.postgresql/postgresql.key")
    assert passed, output


def test_prefer_goes_on_in_the_clear(with_tls: Box, tmp_path: Path) -> None:
    set_entry(with_tls, "hostnossl all all 127.0.0.1/32 scram-sha-256")
    with_tls.set_env(DB_HOST="database.test", DB_PORT="5432", DB_PASS=PASSWORD, DATABASE_URL=None, DB_SSLMODE=None)
    passed, output = database(with_tls, tmp_path)
    assert passed, output


def test_the_password_file_is_read_when_there_is_no_password(box: Box, tmp_path: Path) -> None:
    set_entry(box, "host all all 127.0.0.1/32 scram-sha-256")
    box.put("/home/mastodon/.pgpass", f"*:*:*:mastodon:{PASSWORD}\n", 0o600, "mastodon:mastodon")
    box.set_env(DB_HOST="127.0.0.1", DB_PORT="5432", DB_PASS="", DATABASE_URL=None, DB_SSLMODE=None)
    passed, output = database(box, tmp_path)
    box.run("rm /home/mastodon/.pgpass")
    assert passed, output
    assert PASSWORD not in output
