# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mastodon run by docker compose: found whatever its project is called, clear when well, each fault named as on a server of systemd."""

from __future__ import annotations

import contextlib
import json
import os
import time

from collections.abc import Iterator
from pathlib import Path

import pytest

from composed import Project, edited, played, project, roots, settings, told
from live import ansible
from project import APP, run

__all__ = ["project"]  # the fixture


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
