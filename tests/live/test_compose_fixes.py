# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is cured where docker compose runs Mastodon: in the file of settings, in an override of ours, in its volumes and its database."""

from __future__ import annotations

import contextlib
import os
import time

from collections.abc import Iterator
from pathlib import Path

import pytest

from composed import Project, back, cured, edited, project, settings
from project import APP

__all__ = ["project"]  # the fixture


@pytest.mark.thorough
def test_a_lost_page_of_an_index_is_built_anew(project: Project, tmp_path: Path) -> None:
    where = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('statuses_pkey')"
    inside = project.run("db", "psql", "-h", "/tmp", "-d", "mastodon_production", "-XAtqc", "CHECKPOINT", "-c", where).strip()
    volume = next(mount for mount in project.inspect("db")["Mounts"] if inside.startswith(mount["Destination"] + "/"))
    project.compose("stop", "db")
    with Path(volume["Source"] + inside[len(volume["Destination"]) :]).open("r+b") as index:
        index.seek(8192)
        index.write(b"\0" * 8192)
    project.compose("start", "db")
    project.compose("restart", "-t", "5", "web", "sidekiq")
    project.wait_for_web()
    for _time in range(6):
        project.post("the page that holds its keys is gone")
    cured(project, tmp_path, "index_corruption", "rebuild")
    project.ready()


IN_LATIN1 = """set -e
createdb -h /tmp -T template0 -E LATIN1 --locale C -O mastodon other
pg_dump -h /tmp mastodon_production | psql -h /tmp -XAtq -v ON_ERROR_STOP=1 -d other >/dev/null
psql -h /tmp -XAtq -d postgres -c "ALTER DATABASE mastodon_production RENAME TO before"
psql -h /tmp -XAtq -d postgres -c "ALTER DATABASE other RENAME TO mastodon_production"
"""


def asked(project: Project, database: str, *statements: str) -> str:
    words = ["env", "PGCLIENTENCODING=UTF8", "psql", "-h", "/tmp", "-XAtq", "-d", database]
    return project.run("db", *words, *(word for statement in statements for word in ("-c", statement)))


@contextlib.contextmanager
def in_latin1(project: Project) -> Iterator[None]:
    project.compose("stop", *APP)
    project.run("db", "sh", "-c", IN_LATIN1)
    project.compose("start", *APP)
    project.ready()
    try:
        yield
    finally:
        project.compose("stop", *APP)
        renamed = "ALTER DATABASE %s RENAME TO %s"
        asked(project, "postgres", renamed % ("mastodon_production", "latin"), renamed % ("before", "mastodon_production"))
        project.compose("start", *APP)
        project.ready()


@pytest.mark.thorough
def test_a_database_gets_another_encoding_and_the_old_one_back(project: Project, tmp_path: Path) -> None:
    def databases() -> dict[str, str]:
        listed = asked(project, "postgres", "SELECT datname, pg_encoding_to_char(encoding) FROM pg_database WHERE NOT datistemplate")
        return dict(line.split("|") for line in listed.splitlines())

    def texts() -> str:
        return asked(project, "mastodon_production", "SELECT id, text FROM statuses ORDER BY id")

    with in_latin1(project):
        for _time in range(4):
            project.post("it cannot hold \U0001f600")
        assert project.post("caf\u00e9") == 200
        before = texts()
        host = cured(project, tmp_path, "encoding_not_utf8", "rebuild")
        kept = [name for name in databases() if "before_unicode" in name]
        assert (databases()["mastodon_production"], databases()[kept[0]]) == ("UTF8", "LATIN1")
        assert texts().startswith(before) and "caf\u00e9" in before
        assert project.post("it can hold \U0001f600") == 200
        assert "fediops" not in project.run("db", "ls", "-a", "/tmp")
        back(project, tmp_path, host)
        project.ready()
        assert databases()["mastodon_production"] == "LATIN1" and texts().startswith(before)


@pytest.mark.thorough
def test_media_that_may_not_be_written(project: Project, tmp_path: Path) -> None:
    os.chown(project.media, 0, 0)
    try:
        host = cured(project, tmp_path, "media_permissions")
        assert project.media.stat().st_uid == 991
        back(project, tmp_path, host)
        assert project.media.stat().st_uid == 0
    finally:
        os.chown(project.media, 991, 991)


# cause: what .env.production says wrongly, what it says after the cure.
SETTINGS = {
    "debug_log_level": ("RAILS_LOG_LEVEL", "debug", "info"),
    "db_pool_exhausted": ("DB_POOL", "1", "5"),
    "wrong_rails_env": ("RAILS_ENV", "development", "production"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("cause", SETTINGS)
def test_a_setting_is_mended_in_the_env_file_and_comes_back(project: Project, cause: str, tmp_path: Path) -> None:
    key, wrong, right = SETTINGS[cause]
    path = project.directory / ".env.production"
    with settings(project, **{key: wrong}):
        before = path.read_text()
        host = cured(project, tmp_path, cause)
        assert f"{key}={right}\n" in path.read_text() and f"{key}={right}" in project.inspect("web")["Config"]["Env"]
        back(project, tmp_path, host)
        assert path.read_text() == before and f"{key}={wrong}" in project.inspect("web")["Config"]["Env"]


CONSUMED = "command: bundle exec sidekiq -q default -q push\n    networks"


@pytest.mark.thorough
def test_queues_without_a_worker_get_one_by_an_override(project: Project, tmp_path: Path) -> None:
    with edited(project, "command: bundle exec sidekiq\n    networks", CONSUMED):
        project.wait_for_web(health=True)
        time.sleep(15)  # until the heartbeat of the one before is over
        override = project.directory / "docker-compose.override.yml"
        try:
            host = cured(project, tmp_path, "sidekiq_queue_missing")
            assert "mailers" in project.inspect("sidekiq")["Config"]["Cmd"] and "scheduler" in override.read_text()
            back(project, tmp_path, host)
            assert not override.exists() and "mailers" not in project.inspect("sidekiq")["Config"]["Cmd"]
        finally:
            override.unlink(missing_ok=True)


@pytest.mark.thorough
def test_an_eviction_policy_of_the_command_line(project: Project, tmp_path: Path) -> None:
    evicts = "--dir /var/lib/redis --maxmemory 200mb --maxmemory-policy allkeys-lru\n    healthcheck"
    override = project.directory / "docker-compose.override.yml"

    def policy() -> str:
        return project.run("redis", "redis-cli", "config", "get", "maxmemory-policy").split()[-1]

    with edited(project, "--dir /var/lib/redis\n    healthcheck", evicts):
        project.ready()
        before = project.inspect("redis")["Id"]
        try:
            host = cured(project, tmp_path, "redis_eviction_policy")
            assert (policy(), project.inspect("redis")["Id"]) == ("noeviction", before)
            project.compose("up", "-d", "redis")
            project.ready()
            assert (policy(), project.inspect("redis")["Id"] == before) == ("noeviction", False)
            back(project, tmp_path, host)
            assert not override.exists() and policy() == "allkeys-lru"
        finally:
            override.unlink(missing_ok=True)


@pytest.mark.thorough
def test_redis_gets_its_volume_back(project: Project, tmp_path: Path) -> None:
    volume = next(Path(mount["Source"]) for mount in project.inspect("redis")["Mounts"] if mount["Destination"] == "/var/lib/redis")
    owner, mode = volume.stat().st_uid, volume.stat().st_mode & 0o7777
    os.chown(volume, 0, 0)
    volume.chmod(0o555)
    try:
        project.run("redis", "redis-cli", "bgsave")
        time.sleep(2)
        for _time in range(6):
            project.post("it cannot save")
        cured(project, tmp_path, "redis_misconf_disk")
        assert volume.stat().st_uid == owner
    finally:
        os.chown(volume, owner, -1)
        volume.chmod(mode)
        project.ready()
