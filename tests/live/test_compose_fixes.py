# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is cured where docker compose runs Mastodon: in the file of settings, in an override of ours, in its volumes and its database."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time

from collections.abc import Iterator
from pathlib import Path

import pytest

from composed import RUNS, Project, back, cured, edited, played, project, roots, settings, told
from live import ansible
from project import APP, OWNER, run
from test_interrupted import SHOOTER

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


IN_ANOTHER = """set -e
createdb -h /tmp -T template0 -E "$ENCODING" --locale C -O mastodon other
pg_dump -h /tmp mastodon_production | psql -h /tmp -XAtq -v ON_ERROR_STOP=1 -d other >/dev/null
"""


def asked(project: Project, database: str, *statements: str) -> str:
    words = ["env", "PGCLIENTENCODING=UTF8", "psql", "-h", "/tmp", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database]
    return project.run("db", *words, *(word for statement in statements for word in ("-c", statement)))


@contextlib.contextmanager
def in_another_encoding(project: Project, encoding: str, name: str = "mastodon_production") -> Iterator[None]:
    """The data in a database of that encoding and name, with which Mastodon works."""
    renamed = "ALTER DATABASE %s RENAME TO %s"
    project.compose("stop", *APP)
    project.run("db", "env", f"ENCODING={encoding}", "sh", "-c", IN_ANOTHER)
    asked(project, "template1", renamed % (name, "before"), renamed % ("other", name))
    project.write_env(DB_NAME=name)
    project.compose("up", "-d")
    project.ready()
    try:
        yield
    finally:
        project.compose("stop", *APP)
        asked(project, "template1", "DROP DATABASE IF EXISTS latin", renamed % (name, "latin"), renamed % ("before", name))
        project.write_env(DB_NAME="mastodon_production")
        project.compose("up", "-d")
        project.ready()


def databases(project: Project) -> dict[str, str]:
    listed = asked(project, "template1", "SELECT datname, pg_encoding_to_char(encoding) FROM pg_database WHERE NOT datistemplate")
    return dict(line.split("|") for line in listed.splitlines())


def texts(project: Project, name: str = "mastodon_production") -> str:
    return asked(project, name, "SELECT id, text FROM statuses ORDER BY id")


def files(project: Project) -> str:
    """What lies in the data directory."""
    return project.run("db", "ls", "-a", asked(project, "template1", "SHOW data_directory").strip())


@pytest.mark.thorough
# The second name is the one that Mastodon's setup proposes in containers; no session can rename the database it is in.
@pytest.mark.parametrize(("encoding", "name"), [("LATIN1", "mastodon_production"), ("SQL_ASCII", "postgres")])
def test_a_database_gets_another_encoding_and_the_old_one_back(project: Project, encoding: str, name: str, tmp_path: Path) -> None:
    with in_another_encoding(project, encoding, name):
        for _time in range(4):
            project.post("LATIN1 cannot hold \U0001f600")
        assert project.post("caf\u00e9") == 200
        before, known = texts(project, name), set(databases(project))
        host = cured(project, tmp_path, "encoding_not_utf8", "rebuild")
        kept = (set(databases(project)) - known).pop()
        assert kept.startswith(f"{name}_before_unicode")
        assert (databases(project)[name], databases(project)[kept]) == ("UTF8", encoding)
        assert texts(project, name).startswith(before) and "caf\u00e9" in before
        assert project.post("it can hold \U0001f600") == 200 and "fediops" not in files(project)
        back(project, tmp_path, host)
        project.ready()
        assert databases(project)[name] == encoding and texts(project, name).startswith(before)


@pytest.mark.thorough
@pytest.mark.parametrize("acts", [5, 6, 7], ids=["dumping", "restoring", "swapping"])
def test_a_conversion_that_was_shot(project: Project, acts: int, tmp_path: Path) -> None:
    with in_another_encoding(project, "LATIN1"):
        many = "CREATE TABLE many AS SELECT number, repeat(md5(number::text), 8) AS words FROM generate_series(1, 60000) AS number"
        asked(project, "mastodon_production", many)
        before, known = texts(project), set(databases(project))
        shutil.rmtree(RUNS, ignore_errors=True)  # the shot is at the first run that is written down
        remediate = ("remediate", "-e", "mastodon_remediate_impact=rebuild")
        with subprocess.Popen([sys.executable, "-c", SHOOTER, str(acts)], stdout=subprocess.PIPE, text=True) as shooter:
            _host, output = played(project, tmp_path, *remediate)
            assert "shot" in str(shooter.communicate(timeout=300)[0]) and "broke off" in output, output[-3000:]
        for lease in RUNS.glob("runs/*/lease"):  # its controller has given up, so nobody waits for the end of it
            lease.write_text("0")
        host, output = played(project, tmp_path, *remediate)
        assert (host["verdict"], roots(host)) == ("clear", []), told(host) + output[-3000:]
        assert "changed=0" in played(project, tmp_path, *remediate)[1]
        new = set(databases(project)) - known
        assert databases(project)["mastodon_production"] == "UTF8" and len(new) == 1 and "before_unicode" in new.pop(), new
        assert texts(project).startswith(before) and "fediops" not in files(project)
        assert project.post("it can hold \U0001f600") == 200
        asked(project, "mastodon_production", "DROP TABLE many")


@pytest.mark.thorough
def test_a_conversion_into_which_somebody_writes(project: Project, tmp_path: Path) -> None:
    """Superusers are not kept out by a limit of connections: what they write in between must not be lost."""
    with in_another_encoding(project, "LATIN1"):
        asked(project, "mastodon_production", "CREATE TABLE noted (at timestamptz)")
        writer = "while psql -h /tmp -d mastodon_production -XAtqc 'INSERT INTO noted VALUES (now())' || sleep 0.2; do sleep 0.2; done"
        project.run("db", "sh", "-c", f"({writer}) >/dev/null 2>&1 & echo $! >/tmp/writer")
        try:
            host, output = played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=rebuild")
        finally:
            project.run("db", "sh", "-c", "kill $(cat /tmp/writer)")
        assert roots(host) == ["encoding_not_utf8"] and databases(project)["mastodon_production"] == "LATIN1", output[-3000:]
        assert "something wrote to" in output or "does not hold the same" in output, output[-3000:]
        assert not [name for name in databases(project) if "in_unicode" in name]
        assert project.post("it serves as before") == 200


CACHED = """INSERT INTO media_attachments
(account_id, id, file_file_name, file_content_type, file_file_size, remote_url, processing, created_at, updated_at)
SELECT (SELECT min(id) FROM accounts), 900000 + n, 'cached.png', 'image/png', 524288, 'https://other.example/' || n || '.png', 'complete',
now() - interval '30 days', now() - interval '30 days' FROM generate_series(1, 10) AS n"""


def cached_media(project: Project) -> list[Path]:
    """Copies of pictures of another server, thirty days old, which Mastodon's database knows."""
    asked(project, "mastodon_production", "DELETE FROM media_attachments WHERE id > 900000", CACHED)
    top = project.media / "media_attachments"
    cached = [top / f"files/000/900/{number:03}/{size}" for number in range(1, 11) for size in ("original", "small")]
    for folder in cached:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cached.png").write_bytes(b"\0" * (512 << 10))
    run("chown", "-R", f"{OWNER}:{OWNER}", top)
    return [folder / "cached.png" for folder in cached]


@pytest.mark.thorough
def test_cached_media_are_cleaned_up(project: Project, tmp_path: Path) -> None:
    cached = cached_media(project)
    played(project, tmp_path)
    words = ["-m", "fediops.mastodon.mastodon_cleanup", "-a", json.dumps({"media_days": 7, "root": str(project.directory)})]
    for check, left in ((["--check"], True), ([], False)):
        done = ansible("-i", tmp_path / "inventory.json", "all", *words, *check, program="ansible")
        assert "cached remote media older than 7 days" in done.stdout, done.stdout
        assert {path.exists() for path in cached} == {left}, done.stdout


@pytest.mark.thorough
def test_cached_media_in_a_full_volume_make_room(project: Project, tmp_path: Path) -> None:
    cached = cached_media(project)
    own, fill = project.media / "media_attachments/own.png", project.media / "fill"
    own.write_bytes(b"uploaded here")
    with contextlib.suppress(OSError), fill.open("wb") as stream:
        while True:
            stream.write(b"\0" * (1 << 20))
    try:
        host, output = played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=prune", "--check", "--diff")
        assert "cached remote media older than 7 days" in output and all(path.exists() for path in cached), output
        host = cured(project, tmp_path, "disk_full", "prune")
        assert not any(path.exists() for path in cached) and own.exists() and fill.exists(), told(host)
    finally:
        fill.unlink()
        own.unlink()
        project.ready()


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
@pytest.mark.parametrize("what", ["volume", "root"])
def test_what_the_compose_file_makes_read_only_is_writable_by_an_override(project: Project, what: str, tmp_path: Path) -> None:
    if what == "volume":
        old, new = "${MEDIA}:/mastodon/public/system", f"{project.media}:/mastodon/public/system:ro"
    else:
        old, new = "    init: true\n    command: bundle", "    init: true\n    read_only: true\n    command: bundle"
    override = project.directory / "docker-compose.override.yml"
    with edited(project, old, new):
        project.wait_for_web()
        anew = ("web", "sidekiq") if what == "volume" else ("web",)
        before = {service: project.inspect(service)["Id"] for service in APP}
        try:
            host = cured(project, tmp_path, "sandbox_read_only")
            project.ready()
            assert tuple(service for service in APP if project.inspect(service)["Id"] != before[service]) == anew
            back(project, tmp_path, host)
            assert not override.exists() and project.inspect("web")["HostConfig"]["ReadonlyRootfs"] == (what == "root")
        finally:
            override.unlink(missing_ok=True)


@pytest.mark.thorough
def test_a_sidekiq_that_is_killed_at_stops_gets_more_time(project: Project, tmp_path: Path) -> None:
    override = project.directory / "docker-compose.override.yml"

    def restarted_at_work() -> str:
        """Restarted by its admin while it does long jobs; what it says of that."""
        job = {"class": "Standin::SleepWorker", "args": [50], "queue": "default", "retry": True, "created_at": time.time()}
        jobs = [json.dumps({**job, "jid": secrets.token_hex(12), "enqueued_at": time.time()}) for _time in range(3)]
        project.run("redis", "redis-cli", "lpush", "queue:default", *jobs)
        time.sleep(3)
        project.compose("restart", "sidekiq")
        time.sleep(8)
        return subprocess.run(["docker", "logs", project.container("sidekiq")], capture_output=True, text=True, check=True).stdout

    assert "back to Redis" not in restarted_at_work()
    try:
        host = cured(project, tmp_path, "stop_timeout_too_short")
        assert project.inspect("sidekiq")["Config"]["StopTimeout"] == 60
        assert "Pushed 3 jobs back to Redis" in restarted_at_work()
        back(project, tmp_path, host)
        assert not override.exists() and project.inspect("sidekiq")["Config"].get("StopTimeout") is None
        project.ready()
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
