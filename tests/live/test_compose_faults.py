# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults of tests/faults where docker compose runs Mastodon: the same causes, each named first and alone.

Those that test_compose.py and test_compose_fixes.py plant are not here.
"""

from __future__ import annotations

import contextlib
import subprocess
import time

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from composed import Project, played, project, put_back, roots, told
from project import APP

__all__ = ["project"]  # the fixture

Planted = Callable[[Project], contextlib.AbstractContextManager[None]]
DATABASE = ("psql", "-h", "/tmp", "-d", "mastodon_production", "-XAtqc")


def used(project: Project) -> None:
    """Long enough for a container that dies to have died more than once, with requests all the time."""
    for _time in range(6):
        project.post("as people do")
        time.sleep(4)


def of_settings(**keys: str) -> Planted:
    """Keys of .env.production; the containers of Mastodon are made anew."""

    @contextlib.contextmanager
    def planted(project: Project) -> Iterator[None]:
        with put_back(project, ".env.production"):
            project.write_env(**keys)
            project.compose("up", "-d", check=False)
            used(project)
            yield

    return planted


def of_statements(*statements: str, undo: tuple[str, ...]) -> Planted:
    @contextlib.contextmanager
    def planted(project: Project) -> Iterator[None]:
        try:
            for statement in statements:
                project.run("db", *DATABASE, statement)
            project.compose("restart", "-t", "5", "web", "sidekiq")
            used(project)
            yield
        finally:
            for statement in undo:
                project.run("db", *DATABASE, statement)
            project.compose("up", "-d", "--force-recreate", "db", *APP)
            project.ready()

    return planted


def of_redis(*words: str, undo: tuple[str, ...], restarted: tuple[str, ...] = ()) -> Planted:
    @contextlib.contextmanager
    def planted(project: Project) -> Iterator[None]:
        project.run("redis", "redis-cli", *words)
        try:
            if restarted:
                project.compose("restart", "-t", "5", *restarted)
            used(project)
            yield
        finally:
            project.run("redis", "redis-cli", *undo)
            project.compose("up", "-d", "--force-recreate", *APP)
            project.ready()

    return planted


@contextlib.contextmanager
def another_major_version(project: Project) -> Iterator[None]:
    """What the image of a newer PostgreSQL finds in the volume."""
    version = project.run("db", "cat", "/var/lib/postgresql/data/PG_VERSION").strip()
    project.run("db", "sh", "-c", "echo 13 >/var/lib/postgresql/data/PG_VERSION")
    project.compose("restart", "-t", "5", "db")
    try:
        used(project)
        yield
    finally:
        project.compose("run", "--rm", "-T", "--no-deps", "db", "sh", "-c", f"echo {version} >/var/lib/postgresql/data/PG_VERSION")
        project.compose("restart", "-t", "5", "db")
        project.compose("up", "-d")
        project.ready()


@contextlib.contextmanager
def a_crash(project: Project) -> Iterator[None]:
    connected = "SELECT pid FROM pg_stat_activity WHERE datname = 'mastodon_production' AND pid <> pg_backend_pid() LIMIT 1"
    try:
        project.run("db", "sh", "-c", f"kill -SEGV {project.run('db', *DATABASE, connected).strip()}")
        used(project)
        yield
    finally:
        project.compose("up", "-d", "--force-recreate", "db", *APP)
        project.ready()


@contextlib.contextmanager
def a_held_table(project: Project) -> Iterator[None]:
    """As a large import holds it for minutes."""
    holding = ["docker", "exec", project.container("db"), *DATABASE, "BEGIN; LOCK TABLE statuses; SELECT pg_sleep(300)"]
    with subprocess.Popen(holding, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as holder:
        try:
            time.sleep(2)
            for _time in range(4):
                project.post("and wait", timeout=5)
            yield
        finally:
            holders = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK TABLE%'"
            project.run("db", *DATABASE, holders, check=False)
            holder.wait(30)
            project.compose("up", "-d", "--force-recreate", *APP)
            project.ready()


FAULTS: dict[str, tuple[str, Planted]] = {
    "localhost is the container itself": ("db_misconfigured_host", of_settings(DB_HOST="localhost")),
    "a name that no service has": ("db_misconfigured_host", of_settings(DB_HOST="postgresql")),
    "localhost for Redis": ("redis_misconfigured_host", of_settings(REDIS_HOST="localhost")),
    "another name for Redis": ("redis_misconfigured_host", of_settings(REDIS_HOST="keyvalue")),
    "no secrets": ("secrets_missing", of_settings(SECRET_KEY_BASE="")),
    "a database that is not there": ("db_auth_failed", of_settings(DB_NAME="mastodon")),
    "a password of Redis": (
        "redis_auth_failed",
        of_redis("config", "set", "requirepass", "x", undo=("-a", "x", "config", "set", "requirepass", ""), restarted=APP),
    ),
    "a replica": ("redis_readonly", of_redis("replicaof", "192.0.2.1", "6379", undo=("replicaof", "no", "one"))),
    "few connections": (
        "db_too_many_connections",
        of_statements("ALTER ROLE mastodon CONNECTION LIMIT 2", undo=("ALTER ROLE mastodon CONNECTION LIMIT -1",)),
    ),
    "a later schema": (
        "database_ahead",
        of_statements(
            "ALTER TABLE statuses RENAME visibility TO seen_by", "INSERT INTO schema_migrations VALUES ('20300101000000')",
            undo=("ALTER TABLE statuses RENAME seen_by TO visibility", "DELETE FROM schema_migrations WHERE version = '20300101000000'"),
        ),
    ),
    "another major version": ("postgres_version_mismatch", another_major_version),
    "a crash": ("postgres_crash", a_crash),
    "a held table": ("db_slow", a_held_table),
}  # fmt: skip
# The releases before know none of it: there the same is no fault.
SINCE_4_3 = {
    "no keys for columns": (
        "encryption_keys_missing",
        of_settings(**{f"ACTIVE_RECORD_ENCRYPTION_{name}": "" for name in ("PRIMARY_KEY", "DETERMINISTIC_KEY", "KEY_DERIVATION_SALT")}),
    ),
    "a namespace": ("redis_namespace_unsupported", of_settings(REDIS_NAMESPACE="mastodon")),
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("fault", [*FAULTS, *SINCE_4_3])
def test_a_fault_is_named_first_and_alone(project: Project, fault: str, tmp_path: Path) -> None:
    cause, planted = {**FAULTS, **SINCE_4_3}[fault]
    known = fault not in SINCE_4_3 or project.suite == "trixie"
    with planted(project):
        host, output = played(project, tmp_path)
        assert roots(host) == ([cause] if known else []), told(host) + output[-2000:]
