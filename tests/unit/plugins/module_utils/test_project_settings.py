# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mended for containers of a compose project: settings in its file, the owner of its volume. Live: test_compose_fixes.py."""

from __future__ import annotations

import os

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project, project_settings, run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import (
    fix_media_permissions,
    reset_log_level,
    set_rails_env,
    set_trusted_proxies,
    tune_concurrency,
)
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError


def unit(role: str, **changes: Any) -> dict[str, Any]:
    known = {"name": f"social-{role}-1", "service": role, "role": role, "shim": False, "intended": True, "pid": 7, "manager": "compose",
             "active_state": "active"}  # fmt: skip
    return {**known, "_env": {}, "_gateways": ["172.18.0.1"], "_mounts": [], **changes}


@pytest.fixture(autouse=True)
def compose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "command", lambda _change: ["docker", "compose", "-p", "social"])


def changing(folder: Path, text: str, units: list[dict[str, Any]], **facts: Any) -> Change:
    (folder / ".env.production").write_text(text)
    install = {
        "compose": {"project": "social", "directory": str(folder), "files": [], "version": "2.26.1"}, "deployment": "docker",
        "root": "/opt/mastodon", "media_root": "/opt/mastodon/public/system", "storage": "local", "units": units,
        "version": {"number": [4, 4, 0]},
        "owner": {"user": "mastodon", "uid": 991, "gid": 991, "home": "/opt/mastodon"},
    }  # fmt: skip
    return Change(run.new_steps([{"fix": "x"}])[0], None, facts, install, {})


def planned(change: Change) -> list[str]:
    return [each["what"] for each in change.step["changes"]]


def test_a_setting_is_changed_where_it_stands(tmp_path: Path) -> None:
    loud = {"_env": {"RAILS_LOG_LEVEL": "debug"}}
    units = [unit("web", **loud), unit("sidekiq", **loud), unit("streaming")]
    change = changing(tmp_path, "RAILS_LOG_LEVEL=debug # for a day\nX=1\n", units)
    reset_log_level.fix(change)
    assert change.text(str(tmp_path / ".env.production")) == "RAILS_LOG_LEVEL=info # for a day\nX=1\n"
    assert planned(change)[0] == "docker compose up -d web sidekiq" and planned(change)[1].endswith("/.env.production")
    assert change.asked.awaited == ["social-web-1", "social-sidekiq-1"] and change.asked.restart == []


@pytest.mark.parametrize(
    ("text", "env", "why"),
    [
        ("X=1\n", {"RAILS_ENV": "development"}, "RAILS_ENV is not in .*the compose file or the image sets it"),
        ("RAILS_ENV=production\n", {"RAILS_ENV": "development"}, "social-web-1 has another RAILS_ENV than"),
    ],
)
def test_what_comes_from_elsewhere_is_left_alone(tmp_path: Path, text: str, env: dict[str, str], why: str) -> None:
    change = changing(tmp_path, text, [unit("web", _env=env)])
    with pytest.raises(Refused, match=why):
        set_rails_env.fix(change)
    assert change.step["changes"] == []


def test_a_file_that_is_right_already_has_its_containers_made_anew(tmp_path: Path) -> None:
    """Quotes are a part of the value for compose 1; what the file says already was never given to the containers."""
    change = changing(tmp_path, "A=info\n", [])
    project_settings.set_where_they_stand(change, {"A": "info"}, [unit("web", _env={"A": '"info"'}), unit("streaming", _env={"A": "info"})])
    assert planned(change) == ["docker compose up -d web"]
    stopped = changing(tmp_path, "A=debug\n", [])
    project_settings.set_where_they_stand(stopped, {"A": "info"}, [unit("web", _env={"A": "debug"}, active_state="inactive")])
    assert len(planned(stopped)) == 1, "without a name compose would start all there is"
    done = changing(tmp_path, "A=info\n", [])
    project_settings.set_where_they_stand(done, {"A": "info"}, [unit("web", _env={"A": "info"})])
    assert planned(done) == []


def test_the_gateway_is_added_to_the_trusted_proxies(tmp_path: Path) -> None:
    given = {"_env": {"TRUSTED_PROXY_IP": "203.0.113.4"}}
    change = changing(tmp_path, "TRUSTED_PROXY_IP=203.0.113.4\n", [unit("web", **given)], proxy={"upstream_web_is_local": True})
    set_trusted_proxies.fix(change)
    assert change.text(str(tmp_path / ".env.production")) == "TRUSTED_PROXY_IP=203.0.113.4,172.18.0.1\n"


@pytest.mark.parametrize(("most", "refused"), [(100, False), (30, True)])
def test_a_pool_becomes_as_large_as_the_most_threads(tmp_path: Path, most: int, refused: bool) -> None:
    given = {"_env": {"DB_POOL": "5"}, "db_pool": 5}
    sidekiq = unit("sidekiq", **given, concurrency=25, pool_short=True)
    units = [unit("web", **given, concurrency=5, workers=2), sidekiq, unit("streaming", **given)]
    told = {"connections": {"max": most, "reserved": 3, "used": 0}}
    change = changing(tmp_path, "DB_POOL=5\n", units, database=told)
    change.step["issues"] = ["db_pool_exhausted"]
    if refused:
        with pytest.raises(Refused, match="would need 60 connections, and there is room for 21"):
            tune_concurrency.fix(change)
        return
    tune_concurrency.fix(change)
    assert change.text(str(tmp_path / ".env.production")) == "DB_POOL=25\n"
    assert planned(change)[0] == "docker compose up -d web sidekiq streaming"


def volume(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"type": "bind", "source": str(folder), "path": "/mastodon/public/system", "writable": True, **changes}


def test_an_undo_tells_nothing_of_what_compose_prints(tmp_path: Path) -> None:
    said: list[str] = []
    argv = ["sh", "-c", "echo failed to read .env: line 3: SMTP_PASSWORD=hunter2; exit 15"]
    with pytest.raises(HostError, match=r"^docker compose up -d web ended with 15; run it in .* to see why$"):
        project.make_anew_again({"what": "docker compose up -d web", "argv": argv, "directory": str(tmp_path)}, said.append)
    assert said == ["docker compose up -d web"]


def test_threads_are_the_compose_files_business(tmp_path: Path) -> None:
    change = changing(tmp_path, "DB_POOL=5\n", [unit("sidekiq", _env={"DB_POOL": "5"}, db_pool=5, concurrency=25, pool_short=True)])
    change.step["issues"] = ["db_too_many_connections"]
    with pytest.raises(Refused, match="stands in the compose file"):
        tune_concurrency.fix(change)
    assert planned(change) == []


@pytest.mark.parametrize(
    ("source", "why"),
    [("/etc/mastodon", "is a directory of the system; correct the volumes of the compose file"), ("{folder}/link", "is a link that user")],
)
def test_a_volume_that_is_not_surely_medias_is_left_alone(tmp_path: Path, source: str, why: str) -> None:
    (tmp_path / "link").symlink_to("/usr")
    os.lchown(tmp_path / "link", 991, 991)
    source = source.format(folder=tmp_path)
    change = changing(tmp_path, "", [unit("web", _mounts=[volume(Path(source))])])
    with pytest.raises(Refused, match=why):
        fix_media_permissions.fix(change)


def test_the_volume_is_given_to_the_number_of_the_app(tmp_path: Path) -> None:
    media = tmp_path / "system"
    (media / "cache").mkdir(parents=True)
    inside = "/opt/mastodon/public/system"
    change = changing(tmp_path, "", [unit("web", _mounts=[volume(media)])], media={"unwritable": [inside, inside + "/cache"]})
    change.install["owner"].update(uid=os.geteuid() + 1, gid=os.getegid() + 1)
    fix_media_permissions.fix(change)
    assert "/system: 2 directories and 0 files of " in planned(change)[0] and len(planned(change)) == 1
    assert "still may not write" in fix_media_permissions.check(change)
    change.install["owner"].update(uid=os.geteuid())
    assert fix_media_permissions.check(change) == ""


@pytest.mark.parametrize(
    ("mounts", "why"),
    [
        ([], "in the container itself"),
        ([volume(Path("/srv/x"), writable=False)], "mounts /mastodon/public/system read-only"),
        ([volume(Path("/nowhere/at/all"))], "is no directory"),
        ([volume(Path("/srv/x"), source="name-of-a-plugin")], "in the container itself"),
    ],
)
def test_what_is_no_volume_of_this_host(tmp_path: Path, mounts: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(Refused, match=why):
        fix_media_permissions.fix(changing(tmp_path, "", [unit("web", _mounts=mounts)]))
    with pytest.raises(Refused, match="no container"):
        fix_media_permissions.fix(changing(tmp_path, "", []))
