# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another command for a service, in an override file of ours and nowhere else. Live: test_compose_fixes.py."""

from __future__ import annotations

import json

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project, project_override, run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import cover_queues, set_stop_timeout

SIDEKIQ = ["bundle", "exec", "sidekiq", "-q", "default", "-q", "push"]


def unit(**changes: Any) -> dict[str, Any]:
    return {"name": "social-sidekiq-1", "service": "sidekiq", "role": "sidekiq", "shim": False, "intended": True, "manager": "compose",
            "active_state": "active", "pid": 7, "queues": ["default", "push"], "_command": SIDEKIQ, **changes}  # fmt: skip


def changing(folder: Path, *units: dict[str, Any], files: tuple[str, ...] = ("docker-compose.yml",), base: str = "services: {}") -> Change:
    (folder / "docker-compose.yml").write_text(base)
    paths = [str(folder / name) for name in files]
    told = {"project": "social", "directory": str(folder), "files": paths, "version": "2.26.1"}
    facts = {"sidekiq": {"unconsumed_queues": ["mailers"], "processes": [{}], "schedulers": 1}}
    install = {"compose": told, "units": list(units) or [unit()], "root": "/opt/mastodon"}
    return Change(run.new_steps([{"fix": "cover_queues"}])[0], None, facts, install, {})


def override(change: Change, folder: Path) -> dict[str, Any]:
    text = change.text(str(folder / project_override.OUR_OVERRIDE)) or ""
    assert text.startswith("# Made by fediops.mastodon.")
    said: dict[str, Any] = json.loads(text.partition("\n")[2])
    return said


def write(change: Change, service: dict[str, Any], command: str) -> None:
    project_override.write(change, project_override.of_command(change, service, command, "add -q a to"))


@pytest.mark.parametrize(("base", "version"), [("services: {}\n", {}), ("version: '2.4'\nservices: {}\n", {"version": "2.4"})])
def test_a_command_goes_into_the_override(tmp_path: Path, base: str, version: dict[str, str]) -> None:
    change = changing(tmp_path, base=base)
    write(change, unit(), "sh -c 'echo $HOME'")
    assert override(change, tmp_path) == {**version, "services": {"sidekiq": {"command": ["sh", "-c", "echo $$HOME"]}}}
    write(change, unit(service="redis"), "redis-server")
    assert set(override(change, tmp_path)["services"]) == {"sidekiq", "redis"}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("docker-compose.override.yml", "services: {sidekiq: {cpus: 2}}\n", "would not take"),
        ("compose.override.yaml", "services: {}\n", "would not take"),
        ("compose.yaml", "services: {}\n", "would not take"),
        (".env", "COMPOSE_FILE=docker-compose.yml\n", "would not take"),
        ("docker-compose.override.yml", project_override.OURS + "services: {}\n", "is yours"),
        ("docker-compose.override.yml", project_override.OURS + '{"services": []}', "is yours"),
        ("docker-compose.override.yml", project_override.OURS + '{"services": {"web": null}}', "is yours"),
        ("docker-compose.override.yml", project_override.OURS + '{"services": {"web": {"tmpfs": "/run"}}}', "is yours"),
        ("docker-compose.override.yml", project_override.OURS + '{"services": {"web": {"stop_grace_period": ["1s"]}}}', "is yours"),
    ],
)
def test_where_ours_would_change_more_or_nothing_it_is_not_made(tmp_path: Path, name: str, text: str, why: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Refused, match=why + ".*: add -q a to the command of the service sidekiq in the compose file"):
        write(changing(tmp_path), unit(), "sidekiq -q a")


@pytest.mark.parametrize(
    ("base", "refused"),
    [
        ("services:\n  redis:\n    command: redis-server --requirepass ${REDIS_PASSWORD}\n", True),
        ("services:\n  redis:\n    command:\n    - redis-server\n    - $ARGUMENTS\n", True),
        ("services:\n  redis:\n    command: >\n      redis-server\n      --requirepass ${A}\n", True),
        ("services:\n  redis:\n    command: sh -c 'echo $$HOME'\n    volumes: ['${MEDIA}:/m']\n    image: ${IMAGE}\n", False),
    ],
)
def test_a_command_of_variables_is_not_frozen(tmp_path: Path, base: str, refused: bool) -> None:
    change = changing(tmp_path, base=base)
    if refused:
        with pytest.raises(Refused, match="is made of variables"):
            write(change, unit(), "sidekiq")
    else:
        write(change, unit(), "sidekiq")


def test_files_that_compose_does_not_find_itself(tmp_path: Path) -> None:
    for files in ((), ("production.yml",), ("docker-compose.yml", "extra.yml"), ("docker-compose.override.yml",)):
        change = changing(tmp_path, files=files)
        assert not project.finds_files_itself(change.install["compose"])
        with pytest.raises(Refused, match="would not take the files"):
            write(change, unit(), "x")


def test_those_that_it_finds(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").touch()
    for names in (["docker-compose.yml"], ["docker-compose.yml", "docker-compose.override.yml"]):
        assert project.finds_files_itself({"directory": str(tmp_path), "files": [str(tmp_path / name) for name in names]})
        assert project.finds_files_itself({"directory": str(tmp_path), "files": names}), "compose 1 tells it like this"
    assert not project.finds_files_itself({"directory": str(tmp_path), "files": ["../docker-compose.yml"]})
    (tmp_path / "docker-compose.override.yml").write_text(project_override.OURS + '{"services": {}}')
    assert project.finds_files_itself({"directory": str(tmp_path), "files": ["docker-compose.yml"]}), "ours may come and go"


def test_passwords_of_a_command_are_for_nobody(tmp_path: Path) -> None:
    redis = unit(service="redis", _command=["redis-server", "--requirepass hunter2", "--user", "default", ">hunter3"])
    change = changing(tmp_path)
    (tmp_path / "docker-compose.yml").chmod(0o600)
    write(change, redis, project_override.command_of(redis))
    assert override(change, tmp_path)["services"]["redis"]["command"][1] == "--requirepass hunter2"
    assert "hunter" not in json.dumps(change.step)


def test_the_only_worker_takes_the_queues_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "command", lambda _change: ["docker", "compose", "-p", "social"])
    change = changing(tmp_path)
    cover_queues.fix(change)
    assert override(change, tmp_path)["services"]["sidekiq"]["command"] == [*SIDEKIQ, "-q", "mailers"]
    assert [each["what"] for each in change.step["changes"]][0] == "docker compose up -d sidekiq"


def test_what_is_refused_was_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "command", lambda _change: ["docker", "compose", "-p", "social"])
    (tmp_path / "docker-compose.override.yml").write_text("services: {}")
    change = changing(tmp_path)
    with pytest.raises(Refused):
        cover_queues.fix(change)
    assert change.step["changes"] == []


def test_a_scaled_service_keeps_its_scheduler(tmp_path: Path) -> None:
    both = [unit(name=f"social-sidekiq-{number}", queues=["default", "scheduler"]) for number in (1, 2)]
    change = changing(tmp_path, *both)
    change.facts["sidekiq"].update(unconsumed_queues=[], schedulers=2)
    with pytest.raises(Refused, match="several containers of the service sidekiq take the queue scheduler"):
        cover_queues.fix(change)


def test_a_stop_gets_its_time_beside_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "command", lambda _change: ["docker", "compose", "-p", "social"])
    short, patient = {"shutdown_timeout_seconds": 70, "stop_short": True}, {"shutdown_timeout_seconds": 25, "stop_short": False}
    stopped = {key: value for key, value in unit(name="social-push-1", service="push", **short).items() if key != "pid"}
    change = changing(tmp_path, unit(**short), unit(name="social-pull-1", service="pull", **patient), stopped)
    write(change, unit(), "sidekiq -q a")
    set_stop_timeout.fix(change)
    told = override(change, tmp_path)["services"]
    assert told == {"sidekiq": {"command": ["sidekiq", "-q", "a"], "stop_grace_period": "75s"}, "push": {"stop_grace_period": "75s"}}
    # Only what runs is made anew.
    assert [each["what"] for each in change.step["changes"]][1:2] == ["docker compose up -d sidekiq"]
    write(change, unit(), "sidekiq")
    assert override(change, tmp_path)["services"]["sidekiq"] == {"command": ["sidekiq"], "stop_grace_period": "75s"}


def test_a_stop_gets_no_time_over_that_of_the_compose_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "command", lambda _change: ["docker", "compose", "-p", "social"])
    short = unit(shutdown_timeout_seconds=300, stop_short=True)
    change = changing(tmp_path, short, base="services: {sidekiq: {stop_grace_period: 2m}}")
    with pytest.raises(Refused, match="has a stop_grace_period of its own.*305s for sidekiq in the compose file"):
        set_stop_timeout.fix(change)
    change, written = changing(tmp_path, short, base="# stop_grace_period\nservices: {}"), []
    monkeypatch.setattr(change, "before", lambda _kind, _what, **operation: written.append(operation))
    set_stop_timeout.fix(change)
    asked = written[0]
    assert asked["argv"][asked["argv"].index("-t") + 1] == "305" and asked["seconds"] > 305, "as long as it needs at this stop too"


def test_queues_that_are_split_over_containers_are_their_authors_business(tmp_path: Path) -> None:
    change = changing(tmp_path, unit(), unit(name="social-sidekiq-pull-1", service="sidekiq-pull", queues=["pull"]))
    with pytest.raises(Refused, match="give one of them -q mailers in the compose file"):
        cover_queues.fix(change)
    assert change.step["changes"] == []
