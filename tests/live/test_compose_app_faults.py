# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults of jobs, media, mail, search, keys and connections where docker compose runs Mastodon; more in test_compose_faults.py."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request

from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import pytest

from composed import Project, edited, played, project, put_back, roots, told
from live import FAULTS as PLANTS
from live import ROOT
from project import APP, run
from test_compose_faults import DATABASE, Planted, of_settings, used

sys.path.insert(0, str(PLANTS / "files"))

from box import DB_PASSWORD  # noqa: E402
from box_client import DOMAIN, TOKEN, form_of_file  # noqa: E402
from traffic import picture  # noqa: E402

__all__ = ["project"]  # the fixture

BEAT_SECONDS = 12  # how busy Sidekiq is it tells with each beat
ENQUEUE = (PLANTS / "files" / "enqueue.py").read_text()
DELIVERIES = PLANTS / "authorities_unknown" / "plant.yml"
POOLER = """\
  pooler:
    <<: *image
    user: postgres
    networks: [internal_network]
    command: pgbouncer /srv/pgbouncer.ini
    volumes: ['./pgbouncer:/srv:ro']
    depends_on: [db]

"""
SETTINGS = """\
[databases]
mastodon_production = host=db port=5432
[pgbouncer]
listen_addr = *
listen_port = 6432
auth_type = plain
auth_file = /srv/users.txt
pool_mode = transaction
server_round_robin = 1
{statements}
"""


def enqueue(project: Project, *words: object) -> None:
    """enqueue.py of the faults, where redis-cli is."""
    run("docker", "exec", "-i", project.container("redis"), "python3", "-", *map(str, words), input=ENQUEUE)
    time.sleep(BEAT_SECONDS)


@contextlib.contextmanager
def without_its_jobs(project: Project) -> Iterator[None]:
    """Afterwards no job of the fault is left to be tried again, and no line of it."""
    try:
        yield
    finally:
        project.compose("stop", "-t", "5", "sidekiq")  # what it gives back as it ends would come after
        project.run("redis", "redis-cli", "flushall")
        project.compose("up", "-d", "--force-recreate", *APP)
        project.ready()


def of_jobs(*words: object) -> Planted:
    @contextlib.contextmanager
    def planted(project: Project) -> Iterator[None]:
        with without_its_jobs(project):
            enqueue(project, *words)
            yield

    return planted


@contextlib.contextmanager
def a_quiet_sidekiq(project: Project) -> Iterator[None]:
    run("docker", "kill", "-s", "TSTP", project.container("sidekiq"))
    with of_jobs("Standin::SleepWorker", 0, 20, "default", 600)(project):
        yield


def of_files(*patterns: str) -> Planted:
    """Taken out of the containers that need them."""

    @contextlib.contextmanager
    def planted(project: Project) -> Iterator[None]:
        try:
            for service in ("web", "sidekiq"):
                project.run(service, "sh", "-c", f"rm -f {' '.join(patterns)}", user="root")
            yield
        finally:
            project.compose("up", "-d", "--force-recreate", *APP)
            project.ready()

    return planted


def upload(project: Project) -> None:
    """A picture; what becomes of it is not asked."""
    body, kind = form_of_file(picture(), "a.png")
    headers = {"Host": DOMAIN, "X-Forwarded-Proto": "https", "Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
    request = urllib.request.Request(f"http://127.0.0.1:{project.web_port}/api/v2/media", body, headers)
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


@contextlib.contextmanager
def storage_gone(project: Project) -> Iterator[None]:
    with of_settings(S3_ENABLED="true", S3_BUCKET="media", S3_ENDPOINT="http://127.0.0.1:9000")(project):
        for _time in range(6):
            upload(project)
        yield


@contextlib.contextmanager
def search_gone(project: Project) -> Iterator[None]:
    with without_its_jobs(project), of_settings(ES_ENABLED="true", ES_HOST="es", ES_PORT="9200")(project):
        time.sleep(BEAT_SECONDS)
        yield


SEARCH = """\
  es:
    <<: *image
    user: root
    networks: [internal_network]
    command: sh -c 'openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=es -keyout /tmp/key -out /tmp/cert 2>/dev/null;
      exec openssl s_server -accept 9200 -www -quiet -key /tmp/key -cert /tmp/cert'

"""


@contextlib.contextmanager
def search_with_tls(project: Project) -> Iterator[None]:
    """As Elasticsearch 8 comes, and nobody said so to Mastodon."""
    try:
        changed = edited(project, "  redis:\n    <<", SEARCH + "  redis:\n    <<")
        with without_its_jobs(project), changed, of_settings(ES_ENABLED="true", ES_HOST="es", ES_PORT="9200")(project):
            time.sleep(BEAT_SECONDS)
            yield
    finally:
        run("docker", "rm", "-f", project.container("es"))


@contextlib.contextmanager
def an_old_redis(project: Project) -> Iterator[None]:
    """Real, of an age that Debian no longer has, with data of its own: it cannot read that of a newer one."""
    program = run(ROOT / "tests" / "testbed" / "old-redis").strip().splitlines()[-1]
    old, mounted = "['redis:/var/lib/redis']", f"['redis:/var/lib/redis', '{program}:/usr/bin/redis-server:ro']"
    try:
        with put_back(project, "docker-compose.yml") as path:
            text = path.read_text()
            assert old in text and "--bind * " in text
            path.write_text(text.replace(old, mounted).replace("--bind * ", "--dbfilename old.rdb "))
            project.compose("up", "-d")
            project.compose("restart", "-t", "5", *APP)
            used(project)
            yield
    finally:
        project.run("redis", "rm", "-f", "/var/lib/redis/old.rdb")


@contextlib.contextmanager
def new_keys(project: Project) -> Iterator[None]:
    """Two-factor secrets that the old keys encrypted, as users have them since 4.3."""
    names = ("PRIMARY_KEY", "DETERMINISTIC_KEY", "KEY_DERIVATION_SALT")
    keys = {f"ACTIVE_RECORD_ENCRYPTION_{name}": secrets.token_hex(16) for name in names}
    encrypted = "User.encrypts :otp_secret"
    read = "Api::V1::TimelinesController.before_action(only: :home) { current_user.otp_secret }"
    initializer = f"Rails.application.config.to_prepare do\n  {encrypted}\n  {read}\nend\n"
    project.run("db", *DATABASE, "ALTER TABLE users ADD otp_secret varchar")
    project.run("web", "bin/rails", "runner", f"{encrypted}; User.find_each {{ |user| user.update!(otp_secret: 'of the old keys') }}")
    try:
        with of_settings(**keys)(project):
            project.run("web", "sh", "-c", f"echo '{initializer}' >config/initializers/zz_two_factor.rb")
            project.compose("restart", "-t", "5", "web")
            project.wait_for_web(health=True)
            for _time in range(6):
                project.http("/api/v1/timelines/home")
            yield
    finally:
        project.run("db", *DATABASE, "ALTER TABLE users DROP otp_secret")


@contextlib.contextmanager
def visitors_with_one_address(project: Project) -> Iterator[None]:
    with of_settings(STANDIN_RATE_LIMIT="3")(project):
        for _time in range(30):
            request = urllib.request.Request(f"http://127.0.0.1:{project.web_port}/api/v1/timelines/public",
                                             headers={"Host": "mastodon.test", "X-Forwarded-Proto": "https"})  # fmt: skip
            with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
        yield


@contextlib.contextmanager
def few_descriptors(project: Project) -> Iterator[None]:
    with edited(project, "command: node ./streaming/index.js\n", "command: node ./streaming/index.js\n    ulimits: {nofile: 48}\n"):
        project.ready()
        with contextlib.ExitStack() as held:
            for _each in range(60):
                with contextlib.suppress(OSError):
                    held.enter_context(socket.create_connection(("127.0.0.1", project.streaming_port), 5))
            time.sleep(2)
            yield


@contextlib.contextmanager
def strange_authorities(project: Project) -> Iterator[None]:
    """Two dozen other servers whose certificate nobody signed whom this image knows."""
    worker = DELIVERIES.read_text().partition("content: |\n")[2].partition("\n- name: Restart")[0].replace("\n      ", "\n").strip()
    hosts = "".join(f"127.0.1.{number} server{number}.example\n" for number in range(1, 25))
    made = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout /tmp/key -out /tmp/cert -days 2 2>/dev/null"
    with without_its_jobs(project):
        project.run("sidekiq", "sh", "-c", f"cat >app/workers/activitypub/delivery_worker.rb <<'RUBY'\n{worker}\nRUBY")
        project.compose("restart", "-t", "5", "sidekiq")
        project.ready()
        project.run("sidekiq", "sh", "-c", f"{made}; printf '{hosts}' >>/etc/hosts", user="root")
        server = ("openssl", "s_server", "-accept", "443", "-key", "/tmp/key", "-cert", "/tmp/cert", "-www", "-quiet")
        run("docker", "exec", "-d", "-u", "root", project.container("sidekiq"), *server)
        enqueue(project, "ActivityPub::DeliveryWorker", json.dumps(["{}", 1, "https://server#.example/inbox"]), 24, "push")
        yield


@contextlib.contextmanager
def pooled(project: Project, prepared: str) -> Iterator[None]:
    """Behind PgBouncer in transaction mode."""
    folder = project.directory / "pgbouncer"
    folder.mkdir(exist_ok=True)
    statements = "max_prepared_statements = 0" if project.suite == "trixie" else "server_reset_query = DISCARD ALL"
    (folder / "pgbouncer.ini").write_text(SETTINGS.format(statements=statements))
    (folder / "users.txt").write_text(f'"mastodon" "{DB_PASSWORD}"\n')
    for path in folder.iterdir():
        path.chmod(0o644)
    try:
        with edited(project, "  redis:\n    <<", POOLER + "  redis:\n    <<"), put_back(project, ".env.production"):
            project.write_env(DB_HOST="pooler", DB_PORT="6432", PREPARED_STATEMENTS=prepared)
            project.compose("up", "-d")
            project.wait_for_web()
            yield
    finally:
        run("docker", "rm", "-f", project.container("pooler"))
        project.compose("up", "-d", "--force-recreate", "db", *APP)  # PostgreSQL's log tells of it too
        project.ready()


@contextlib.contextmanager
def statements_lost(project: Project) -> Iterator[None]:
    """Nobody said to Rails that there is a pooler."""
    with pooled(project, "true"):
        used(project)
        yield


@contextlib.contextmanager
def lock_lost(project: Project) -> Iterator[None]:
    """Migrated through the pooler, until the lock is taken by one connection and given back by another, which is chance."""
    undone = "ALTER TABLE statuses DROP COLUMN visibility; DELETE FROM schema_migrations WHERE version = '20161130185319'"
    with pooled(project, "false"):
        with futures.ThreadPoolExecutor(12) as people:  # then it has several connections
            list(people.map(lambda _one: project.http("/api/v1/timelines/public"), range(48)))
        for _time in range(6):
            project.run("db", *DATABASE, undone)
            if "ConcurrentMigrationError" in project.run("web", "bundle", "exec", "rails", "db:migrate", check=False):
                break
        else:
            raise AssertionError("it got through six times")
        project.compose("restart", "-t", "5", "web", "sidekiq")
        project.wait_for_web()
        yield


MIGRATION = """\
class AddVisibilityOnceMore < ActiveRecord::Migration[6.1]
  def change
    add_column :statuses, :visibility, :string
  end
end
"""


@contextlib.contextmanager
def a_migration_that_raises(project: Project) -> Iterator[None]:
    """As of a fork: what it adds is there. Of what was printed in the container only the server's log knows."""
    project.run("web", "sh", "-c", f"echo '{MIGRATION}' >db/migrate/20260101000000_add_visibility_once_more.rb")
    try:
        project.run("web", "bundle", "exec", "rails", "db:migrate", check=False)
        yield
    finally:
        project.compose("up", "-d", "--force-recreate", "db", *APP)
        project.ready()


FAULTS: dict[str, tuple[str, Planted]] = {
    "a quiet Sidekiq": ("sidekiq_stuck", a_quiet_sidekiq),
    "more jobs than can be done": ("sidekiq_backlog", of_jobs("Standin::SleepWorker", 600, 12000)),
    "no mail server": (
        "smtp_failure", of_jobs("Standin::MailWorker as ActionMailer::MailDeliveryJob", '"somebody@mastodon.test"', 4, "mailers"),
    ),
    "no storage": ("s3_failure", storage_gone),
    "no search": ("elasticsearch_down", search_gone),
    "a search with TLS": ("elasticsearch_incompatible", search_with_tls),
    "no ffmpeg": ("media_tools_missing", of_files("/usr/bin/ffmpeg", "/usr/bin/ffprobe")),
    "no image library": ("media_tools_missing", of_files("/usr/lib/*-linux-gnu/libvips.so.42*", "/usr/bin/convert*", "/usr/bin/identify*")),
    "few descriptors": ("fd_exhausted", few_descriptors),
    "visitors with one address": ("rate_limited_shared_ip", visitors_with_one_address),
    "a migration that raises": ("migration_failed", a_migration_that_raises),
    "unknown authorities": ("ca_certificates_outdated", strange_authorities),
    "lost statements": ("pgbouncer_prepared_statements", statements_lost),
    "a lost lock": ("pgbouncer_migration_lock", lock_lost),
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_first_and_alone(project: Project, fault: str, tmp_path: Path) -> None:
    cause, planted = FAULTS[fault]
    with planted(project):
        host, output = played(project, tmp_path)
        assert roots(host) == [cause], told(host) + output[-2000:]


@pytest.mark.thorough
@pytest.mark.parametrize("project", [("trixie", 2)], ids=["4.4-compose-2"], indirect=True)
@pytest.mark.parametrize(("planted", "cause"), [(an_old_redis, "redis_too_old"), (new_keys, "secrets_changed")])
def test_a_fault_of_the_newer_release(project: Project, planted: Planted, cause: str, tmp_path: Path) -> None:
    """Sidekiq 6 is content with an old Redis, and encrypted columns came with 4.3."""
    with planted(project):
        host, output = played(project, tmp_path)
        assert roots(host) == [cause], told(host) + output[-2000:]
