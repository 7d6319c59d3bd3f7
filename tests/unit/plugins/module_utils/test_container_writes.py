# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts that become writable in a compose project, and those that must not. Live: test_compose_fixes.py."""

from __future__ import annotations

import json

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project, project_override, run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _container_writes, allow_writes
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.disk import mount_of, mount_table

MEDIA, TMP = "/opt/mastodon/public/system", "/opt/mastodon/tmp"


def mount(**changes: Any) -> dict[str, Any]:
    return {"type": "bind", "source": "/srv/x", "path": "/mastodon/public/system", "writable": False, **changes}


def changing(folder: Path, paths: list[str], mounts: list[dict[str, Any]], base: str = "services: {}\n") -> Change:
    (folder / "docker-compose.yml").write_text(base)
    told = {"project": "social", "directory": str(folder), "files": ["docker-compose.yml"], "version": "2.26.1"}
    units = [
        {"name": f"social-{role}-1", "service": role, "role": role, "shim": False, "intended": True, "pid": 7, "manager": "compose",
         "active_state": "active", "_mounts": mounts}
        for role in ("web", "sidekiq")
    ]  # fmt: skip
    owner = {"user": "mastodon", "uid": 991, "gid": 992, "home": "/"}
    install = {"compose": told, "units": units, "root": "/opt/mastodon", "media_root": MEDIA, "owner": owner}
    found = [{"unit": unit["name"], "path": path, "mount": "/", "host_read_only": False} for unit in units for path in paths]
    return Change(run.new_steps([{"fix": "allow_writes"}])[0], None, {"media": {"read_only": found}}, install, {})


@pytest.fixture(autouse=True)
def compose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "command", lambda _change: ["docker", "compose", "-p", "social"])
    monkeypatch.setattr(_container_writes, "read_only_for", lambda _host, _pid, path: path == "/tmp")


def services(change: Change, folder: Path) -> Any:
    return json.loads((change.text(str(folder / project_override.OUR_OVERRIDE)) or "").partition("\n")[2])["services"]


RO = "services: {web: {volumes: ['%s']}, sidekiq: {volumes: ['%s']}}\n"


@pytest.mark.parametrize(
    ("path", "mounts", "base", "said"),
    [
        (
            MEDIA,
            [mount()],
            RO % (("./public/system:/mastodon/public/system:ro",) * 2),
            {"volumes": ["./public/system:/mastodon/public/system"]},
        ),
        (MEDIA, [mount(path=MEDIA)], RO % (f"media:{MEDIA}:ro,z", f"media:{MEDIA}"), {"volumes": [f"media:{MEDIA}:z"]}),
        (TMP, [], "services: {}\n", {"tmpfs": [f"{TMP}:uid=991,gid=992", "/tmp"]}),
    ],
)
def test_what_is_mounted_otherwise(tmp_path: Path, path: str, mounts: list[dict[str, Any]], base: str, said: dict[str, list[str]]) -> None:
    change = changing(tmp_path, [path], mounts, base)
    allow_writes.fix(change)
    assert services(change, tmp_path) == {"web": said, "sidekiq": said}
    assert change.step["changes"][0]["what"] == "docker compose up -d web sidekiq"


def test_what_is_read_only_after_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = changing(tmp_path, [TMP], [])
    allow_writes.fix(change)
    seen: list[str] = []
    monkeypatch.setattr(_container_writes.containers, "unit", lambda _host, name: seen.append(name) or {"pid": 7})
    assert allow_writes.check(change) == "" and seen == ["social-web-1", "social-sidekiq-1"]
    monkeypatch.setattr(_container_writes, "read_only_for", lambda _host, pid, path: (pid, path) == (7, TMP))
    assert allow_writes.check(change) == f"{TMP} is still read-only for social-web-1"


def test_what_ours_said_before_stays(tmp_path: Path) -> None:
    change = changing(tmp_path, [TMP], [])
    before = {"services": {"web": {"command": ["puma"], "volumes": ["a:/b"], "tmpfs": ["/c"]}}}
    (tmp_path / project_override.OUR_OVERRIDE).write_text(project_override.OURS + json.dumps(before))
    allow_writes.fix(change)
    tmpfs = [f"{TMP}:uid=991,gid=992", "/tmp"]
    assert services(change, tmp_path) == {
        "web": {"command": ["puma"], "volumes": ["a:/b"], "tmpfs": ["/c", *tmpfs]}, "sidekiq": {"tmpfs": tmpfs}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "mounts", "base", "why"),
    [
        (MEDIA, [], "services: {}", "would be gone with it: mount a volume there"),
        (MEDIA, [mount(writable=True)], "services: {}", "although it is not mounted so"),
        *(
            (
                MEDIA,
                [mount()],
                base,
                "otherwise than as SOURCE:PATH:ro with one source and no variable: mount /mastodon/public/system writable",
            )
            for base in (
                RO % (("${MEDIA}:/mastodon/public/system:ro",) * 2),
                RO % ("./a:/mastodon/public/system:ro", "./b:/mastodon/public/system:ro"),
                "x: &m {type: volume, source: media, target: /mastodon/public/system, read_only: true, volume: {subpath: a}}\n",
                "x: &m\n  source: ${MEDIA}\n  target: /mastodon/public/system\n  read_only: true\n",
                "services: {}\n",
            )
        ),
    ],
)
def test_what_only_its_admin_can_choose(tmp_path: Path, path: str, mounts: list[dict[str, Any]], base: str, why: str) -> None:
    change = changing(tmp_path, [path], mounts, base)
    with pytest.raises(Refused, match=why):
        allow_writes.fix(change)
    assert change.step["changes"] == []


def test_a_filesystem_that_is_read_only_wherever_it_is_mounted() -> None:
    volume = "9 1 0:5 / /opt/mastodon/public/system ro,relatime - ext4 /dev/sdb1 {},relatime\n"
    for filesystem in ("rw", "ro"):
        text = "8 1 0:4 / / rw - overlay overlay rw\n" + volume.format(filesystem)
        assert mount_of(MEDIA, mount_table(text))[2]
        assert mount_of(MEDIA, mount_table(text, filesystems=True))[2] == (filesystem == "ro")
