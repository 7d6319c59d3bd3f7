# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mastodon run by docker compose: found whatever its project is called, clear when well, each fault named as on a server of systemd.

The managed host is this machine itself, over a local connection: a box has no engine of its own (tests/testbed/README.md). What is cured
here has its journal in /var/lib/fediops.mastodon of this machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import ROOT, ansible

sys.path.insert(0, str(ROOT / "tests" / "testbed" / "compose"))

from project import APP, Project, run, small_filesystem  # noqa: E402

# Both generations of compose, which name containers and write labels differently, and both releases; in the short run one of them.
KINDS = [("trixie", 2), pytest.param(("bookworm", 1), marks=pytest.mark.thorough)]


RUNS = Path("/var/lib/fediops.mastodon")


@contextlib.contextmanager
def this_machine() -> Iterator[None]:
    """This machine for one at a time, as one that was never remediated: its own journals, if it has any, are put aside."""
    aside = RUNS.with_name(RUNS.name + ".aside")
    with (Path(tempfile.gettempdir()) / "fediops-test-compose.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if RUNS.exists() and not aside.exists():
            RUNS.rename(aside)
        try:
            yield
        finally:
            shutil.rmtree(RUNS, ignore_errors=True)
            if aside.exists():
                aside.rename(RUNS)


@pytest.fixture(scope="module", params=KINDS, ids=["4.4-compose-2", "4.1-compose-1"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    assert os.geteuid() == 0, "looking into containers needs root on this machine"
    suite, generation = request.param
    folder = tmp_path_factory.mktemp("composed")
    with this_machine(), small_filesystem(folder / "media") as media, Project.start(suite, generation, folder, media) as started:
        yield started


def played(project: Project, folder: Path, playbook: str = "diagnose", *arguments: str) -> tuple[dict[str, Any], str]:
    """What a playbook finds on this machine for this project: its host in diagnosis.json, and all that was printed."""
    inventory = folder / "inventory.json"
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3", "mastodon_root": str(project.directory)}
    inventory.write_text(json.dumps({"all": {"hosts": {"composed": variables}}}))
    report = folder / "report"
    done = ansible(ROOT / "playbooks" / f"{playbook}.yml", "-i", inventory, "-e", f"mastodon_report_dir={report}", *arguments)
    assert (report / "diagnosis.json").exists(), done.stdout
    host: dict[str, Any] = json.loads((report / "diagnosis.json").read_text())["hosts"]["composed"]
    return host, done.stdout


def roots(host: dict[str, Any]) -> list[str]:
    return [finding["id"] for finding in host["findings"] if finding["rank"] == 1]


def told(host: dict[str, Any]) -> str:
    return json.dumps({key: host.get(key) for key in ("findings", "unknown", "probes")}, indent=1)[:6000]


def test_a_healthy_project_is_clear(project: Project, tmp_path: Path) -> None:
    host, output = played(project, tmp_path)
    assert (host["verdict"], host["findings"], host["unknown"]) == ("clear", [], []), told(host)
    assert {probe["state"] for probe in host["probes"].values()} == {"ok"}
    assert "changed=0" in output and "failed=0" in output


@contextlib.contextmanager
def stopped(project: Project, service: str) -> Iterator[None]:
    project.compose("stop", "-t", "5", service)
    for _time in range(4):
        project.post("while it is away")
    try:
        yield
    finally:
        project.compose("up", "-d")
        project.ready()


@contextlib.contextmanager
def put_back(project: Project, name: str) -> Iterator[Path]:
    """A file of the project, to be changed; afterwards it is as before, and the containers are made anew from it."""
    path = project.directory / name
    before = path.read_text()
    try:
        yield path
    finally:
        path.write_text(before)
        project.compose("up", "-d")
        project.ready()


@contextlib.contextmanager
def settings(project: Project, **keys: str) -> Iterator[None]:
    with put_back(project, ".env.production"):
        project.write_env(**keys)
        project.compose("up", "-d")
        if "RAILS_ENV" in keys:  # it dies of that, again and again
            time.sleep(20)
        else:
            project.wait_for_web()
            for _time in range(4):
                project.post("with other settings")
        yield


@contextlib.contextmanager
def edited(project: Project, old: str, new: str) -> Iterator[None]:
    """Another compose file, its containers made anew."""
    with put_back(project, "docker-compose.yml") as path:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        project.compose("up", "-d")
        yield


@pytest.mark.parametrize(
    ("service", "cause"),
    [
        ("redis", "redis_down"),
        pytest.param("db", "db_connection_refused", marks=pytest.mark.thorough),
        pytest.param("sidekiq", "sidekiq_not_running", marks=pytest.mark.thorough),
        pytest.param("web", "web_down_502", marks=pytest.mark.thorough),
        pytest.param("streaming", "streaming_down", marks=pytest.mark.thorough),
    ],
)
def test_a_stopped_container_is_named_and_started(project: Project, service: str, cause: str, tmp_path: Path) -> None:
    with stopped(project, service):
        host, _output = played(project, tmp_path)
        assert roots(host) == [cause], told(host)
        assert next(each for each in host["findings"] if each["rank"] == 1)["fix"]["name"] == "start_services"
        before = project.inspect(service)["Id"]
        host, output = played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=start")
        assert (host["verdict"], roots(host)) == ("clear", []), told(host) + output[-3000:]
        assert project.inspect(service)["Id"] == before and project.inspect(service)["State"]["Running"]
        # The second run has nothing to do.
        assert "changed=0" in played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=start")[1]


@pytest.mark.thorough
def test_a_paused_web_goes_on(project: Project, tmp_path: Path) -> None:
    run("docker", "pause", project.container("web"))
    try:
        host, _output = played(project, tmp_path)
        assert roots(host) == ["web_down_502"], told(host)
        host, output = played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=restart")
        assert (host["verdict"], roots(host)) == ("clear", []), told(host) + output[-3000:]
    finally:
        run("docker", "unpause", project.container("web"), check=False)
        project.ready()


@pytest.mark.thorough
def test_a_wrong_password_in_the_env_file(project: Project, tmp_path: Path) -> None:
    with settings(project, DB_PASS="not-the-right-one"):
        host, output = played(project, tmp_path)
        assert roots(host) == ["db_auth_failed"], told(host)
        assert "not-the-right-one" not in output + json.dumps(host)


MIGRATION = "class MakeThings < ActiveRecord::Migration[6.1]\n  def change\n    create_table(:things) { |t| t.string :name }\n  end\nend\n"


@pytest.mark.thorough
def test_a_pending_migration_is_run_in_the_container(project: Project, tmp_path: Path) -> None:
    query = ["psql", "-h", "/tmp", "-d", "mastodon_production", "-Atc"]
    project.run("web", "sh", "-c", f"printf '%s' '{MIGRATION}' >db/migrate/20260101000000_make_things.rb")
    try:
        host, _output = played(project, tmp_path)
        assert roots(host) == ["pending_migrations"], told(host)
        host, output = played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=schema")
        assert (host["verdict"], roots(host)) == ("clear", []), told(host) + output[-3000:]
        assert "things" in project.run("db", *query, "SELECT relname FROM pg_class WHERE relname = 'things'")
    finally:
        project.run("db", *query, "DROP TABLE IF EXISTS things")
        project.run("db", *query, "DELETE FROM schema_migrations WHERE version = '20260101000000'")
        project.compose("up", "-d", "--force-recreate", "web")
        project.ready()


@pytest.mark.thorough
def test_media_that_may_not_be_written(project: Project, tmp_path: Path) -> None:
    os.chown(project.media, 0, 0)
    try:
        host, _output = played(project, tmp_path)
        assert roots(host) == ["media_permissions"], told(host)
        host, output = played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=change")
        assert (host["verdict"], project.media.stat().st_uid) == ("clear", 991), told(host) + output[-3000:]
        assert "changed=0" in played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=change")[1]
        back(project, tmp_path, host)
        assert project.media.stat().st_uid == 0
    finally:
        os.chown(project.media, 991, 991)


def back(project: Project, folder: Path, cured: dict[str, Any]) -> None:
    """Take the remediation back that cured this host."""
    _host, output = played(project, folder, "rollback", "-e", f"run={cured['remediation']['run']}")
    assert "failed=0" in output, output


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
        host, _output = played(project, tmp_path)
        assert roots(host) == [cause], told(host)
        host, output = played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=change")
        assert (host["verdict"], roots(host)) == ("clear", []), told(host) + output[-3000:]
        assert f"{key}={right}\n" in path.read_text() and f"{key}={right}" in project.inspect("web")["Config"]["Env"]
        back(project, tmp_path, host)
        assert path.read_text() == before and f"{key}={wrong}" in project.inspect("web")["Config"]["Env"]


@pytest.mark.thorough
def test_a_full_volume(project: Project, tmp_path: Path) -> None:
    fill = project.media / "fill"
    with contextlib.suppress(OSError), fill.open("wb") as stream:
        while True:
            stream.write(b"\0" * (1 << 20))
    try:
        host, _output = played(project, tmp_path)
        assert roots(host) == ["disk_full"], told(host)
        assert str(project.media) in json.dumps(host["findings"])
    finally:
        fill.unlink()


def test_a_container_that_left_the_network(project: Project, tmp_path: Path) -> None:
    network, container = f"{project.name}_internal_network", project.container("web")
    run("docker", "network", "disconnect", network, container)
    try:
        for _time in range(4):
            project.post("alone")
        host, _output = played(project, tmp_path)
        assert roots(host) == ["container_network_broken"], told(host)
        assert f"{container} shares no network with {project.container('db')}" in json.dumps(host["findings"])
    finally:
        run("docker", "network", "connect", "--alias", "web", network, container)
        project.ready()


ALONE = "command: bundle exec sidekiq\n    networks: [internal_network]"
# cause: what is replaced in the compose file, by what, and a word of the evidence.
COMPOSE_FAULTS = {
    "container_healthcheck_stale": ("curl -s --noproxy localhost localhost:3000/health", "wget -q -O- localhost:3000/health", "wget"),
    "assets_shadowed_by_volume": (
        ":/mastodon/public/system']\n\n  streaming",
        ":/mastodon/public/system', 'redis:/mastodon/public/packs']\n\n  streaming",
        "/mastodon/public/packs",
    ),
    "media_not_persistent": ("    volumes: ['${MEDIA}:/mastodon/public/system']\n    healthcheck", "    healthcheck", "no volume"),
    "outbound_network_broken": (ALONE.replace("[internal", "[external_network, internal"), ALONE, "internal networks only"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("cause", COMPOSE_FAULTS)
def test_what_only_containers_have(project: Project, cause: str, tmp_path: Path) -> None:
    old, new, evidence = COMPOSE_FAULTS[cause]
    with edited(project, old, new):
        project.wait_for_web(health=True)
        if cause == "container_healthcheck_stale":
            time.sleep(100)  # before that it could be a slow start
        host, _output = played(project, tmp_path)
        assert roots(host) == [cause], told(host)
        assert evidence in json.dumps(next(each for each in host["findings"] if each["id"] == cause)["evidence"])


@pytest.mark.thorough
def test_streaming_of_another_release(project: Project, tmp_path: Path) -> None:
    # The same files under another tag: what counts is what the engine says of the image.
    path = project.directory / ".env"
    before = path.read_text()
    name = next(line for line in before.splitlines() if line.startswith("STREAMING_IMAGE=")).partition("=")[2].rpartition(":")[0]
    run("docker", "build", "-q", "--label", "org.opencontainers.image.version=v4.3.0", "-t", f"{name}:v4.3.0", "-",
        input=f"FROM {name}:v{project.version}\n", env={**os.environ, "DOCKER_BUILDKIT": "0"})  # fmt: skip
    try:
        path.write_text(before.replace(f"{name}:v{project.version}", f"{name}:v4.3.0"))
        project.compose("up", "-d")
        project.ready()
        host, _output = played(project, tmp_path)
        assert roots(host) == ["container_versions_mixed"], told(host)
    finally:
        path.write_text(before)
        project.compose("up", "-d")
        project.ready()
        run("docker", "rmi", f"{name}:v4.3.0", check=False)


@pytest.mark.thorough
def test_what_is_in_the_image_is_not_rebuilt(project: Project, tmp_path: Path) -> None:
    project.run("web", "rm", "-r", "public/packs", user="root")
    try:
        host, _output = played(project, tmp_path)
        assert roots(host) == ["assets_missing"], told(host)
        host, output = played(project, tmp_path, "remediate", "-e", "mastodon_remediate_impact=rebuild")
        assert roots(host) == ["assets_missing"] and "part of the image" in output, output[-3000:]
    finally:
        project.compose("up", "-d", "--force-recreate", "web")
        project.ready()


@pytest.mark.thorough
def test_settings_go_into_the_env_file_and_take_effect(project: Project, tmp_path: Path) -> None:
    path = project.directory / ".env.production"
    before, old = path.read_text(), project.inspect("web")["Id"]
    play = tmp_path / "play.yml"
    task = {"fediops.mastodon.mastodon_env": {"settings": {"RAILS_LOG_LEVEL": "warn"}, "restart": True, "root": str(project.directory)}}
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    try:
        done = ansible(play, "-i", "localhost,", "-e", "ansible_connection=local", "-e", "ansible_python_interpreter=/usr/bin/python3")
        assert done.returncode == 0 and "changed=1" in done.stdout, done.stdout
        assert "RAILS_LOG_LEVEL=warn" in path.read_text()
        assert project.inspect("web")["Id"] != old and "RAILS_LOG_LEVEL=warn" in project.inspect("web")["Config"]["Env"]
    finally:
        path.write_text(before)
        project.compose("up", "-d")
        project.ready()


def test_the_services_are_those_of_the_project(project: Project) -> None:
    names = {project.container(service) for service in ("db", "redis", *APP)}
    assert names <= set(run("docker", "ps", "--format", "{{.Names}}").split())
