# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be deleted, and above all what may not."""

from __future__ import annotations

import os
import time

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import journal as journals
from ansible_collections.fediops.mastodon.plugins.module_utils._change import run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _prune, _tootctl, reclaim_disk
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._room import Action, Room
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.install import VERSION_FILE

LONG_AGO = time.time() - 3 * 86400


def a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: dict[str, Any], check: bool = False) -> Change:
    monkeypatch.setattr(journals, "PLACES", (str(tmp_path / "state"),))
    step = run.new_steps([{"fix": "reclaim_disk"}])[0]
    journal = None if check else Journal.create("2026-11-21T09-00-00Z-%04x" % (time.time_ns() % 65536), "", [step])
    return Change(step, journal, {}, install, {})


def everywhere(_path: str) -> bool:
    return True


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "log"
    monkeypatch.setattr(_prune, "LOGS", str(folder))
    for name in ("nginx/access.log.2.gz", "nginx/error.log.1", "syslog-20260101", "nginx/access.log", "open.log.1", "young.log.1",
                 "audit/audit.log.1", "wtmp.1", "journal/x/system@1.journal.1", "notes.txt"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 5000)
        os.utime(folder / name, (LONG_AGO, LONG_AGO) if "young" not in name else None)
    (folder / "link.log.1").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("x")
    os.utime(folder / "link.log.1", (LONG_AGO, LONG_AGO), follow_symlinks=False)
    (folder / "away").symlink_to(tmp_path)
    return folder


def test_only_old_rotated_logs_that_nobody_has_open(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path for path in logs.rglob("*") if path.is_file()}
    with open(logs / "open.log.1", "ab"):
        action = _prune.rotated_logs(a_change(tmp_path, monkeypatch, {}), everywhere)
        assert action is not None and action.inodes == 3 and action.bytes >= 15000
        assert {path for path in logs.rglob("*") if path.is_file()} == before
        action.act()
    gone = {str(path.relative_to(logs)) for path in before - set(logs.rglob("*"))}
    assert gone == {"nginx/access.log.2.gz", "nginx/error.log.1", "syslog-20260101"}
    assert (tmp_path / "precious").exists()
    assert _prune.rotated_logs(a_change(tmp_path, monkeypatch, {}), lambda path: False) is None, "another filesystem"


def test_nothing_is_deleted_in_check_mode(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = a_change(tmp_path, monkeypatch, {}, check=True)
    action = _prune.rotated_logs(change, everywhere)
    assert action is not None
    action.act()
    assert (logs / "nginx" / "error.log.1").exists() and "4 files" in change.step["changes"][0]["what"]


def test_old_releases_but_not_what_runs_nor_uploads_nor_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "releases"
    for at, name in enumerate(("1", "2-with-uploads", "3-in-use", "4", "5-newest", "6-current")):
        (folder / name / "lib" / "mastodon").mkdir(parents=True)
        (folder / name / VERSION_FILE).write_text("")
        os.utime(folder / name, (LONG_AGO + at, LONG_AGO + at))
    (folder / "7-no-mastodon").mkdir()
    (folder / "8-link").symlink_to(tmp_path)
    (folder / "2-with-uploads" / "public" / "system" / "accounts").mkdir(parents=True)
    os.utime(folder / "2-with-uploads", (LONG_AGO, LONG_AGO))
    (tmp_path / "current").symlink_to(folder / "6-current")
    install = {"root": str(tmp_path / "current"), "units": [
        {"name": "x", "role": "sidekiq", "shim": False, "working_directory": str(folder / "3-in-use"), "_argv": []}]}  # fmt: skip
    found = _prune.releases(a_change(tmp_path, monkeypatch, install), everywhere)
    assert [each.what.split(", ")[0] for each in found] == ["old release %s/1" % folder, "old release %s/4" % folder]
    for each in found:
        each.act()
    left = {path.name for path in folder.iterdir()}
    assert left == {"2-with-uploads", "3-in-use", "5-newest", "6-current", "7-no-mastodon", "8-link"}
    # A checkout that is not laid out like this has no old releases.
    assert _prune.releases(a_change(tmp_path, monkeypatch, {"root": str(folder / "5-newest" / "lib")}), everywhere) == []


@pytest.mark.parametrize(
    ("text", "count", "size"),
    [
        ("Removed 1,234 media attachments (approx. 1.5 GB) (DRY RUN)", "1,234", ("1.5", "GB")),
        ("12/12 |====| Time: 00:00:00\nRemoved 12 media attachments (approx. 512 Bytes) (DRY RUN)", "12", ("512", "Bytes")),
        ("Removed 3 preview cards (approx. 12.1 KB) (DRY RUN)", "3", ("12.1", "KB")),
        ("Visited 40 accounts and removed profile media totaling 3 MB (DRY RUN)", "40", ("3", "MB")),
    ],
)
def test_what_tootctl_says(text: str, count: str, size: tuple[str, str]) -> None:
    match = _tootctl._FREED.search(text)
    assert match is not None and (match.group(1) or match.group(2), match.groups()[2:]) == (count, size)


class Pretended(Room):
    """A filesystem that lacks so much."""

    def __init__(self, missing: int) -> None:
        super().__init__(Host(time.monotonic() + 60), "/", [], 10)
        self.missing = missing

    def lacks(self) -> tuple[int, int]:
        return max(0, self.missing), 0


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(("missing", "done"), [(0, []), (5, ["a"]), (10, ["a"]), (11, ["a", "b"]), (99, ["a", "b", "c"])])
def test_it_stops_as_soon_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool, missing: int, done: list[str]
) -> None:
    room, acted = Pretended(missing), []

    def act(name: str) -> None:
        acted.append(name)
        if not check:
            room.missing -= 10

    found = (Action(name, name, 10, 1, lambda name=name: act(name)) for name in "abc")  # type: ignore[misc]
    freed = reclaim_disk._clear(a_change(tmp_path, monkeypatch, {}, check), room, found)
    assert (acted, freed if missing else 0) == (done, 10 * len(done))


def test_what_is_no_log_and_lies_below_var_log_stays(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ["backup/mastodon.sql.gz", "backup/mastodon-20260101.dump.gz", "backup/base.tar.xz", "backup/mastodon_production-20260101",
            "pg_dump-20260101.gz", "restic.old", "db.sql.1"]  # fmt: skip
    gone = ["a.log.gz", "b.log.1.xz", "messages-20260101.gz", "dpkg.log.12.gz", "boot.log-20260101", "postgresql/17-main.log.3.gz",
            "dmesg.0", "Xorg.0.log.old", "secure-20260101-1"]  # fmt: skip
    for name in kept + gone:
        (logs / name).parent.mkdir(exist_ok=True)
        (logs / name).write_bytes(b"x" * 5000)
        os.utime(logs / name, (LONG_AGO, LONG_AGO))
    action = _prune.rotated_logs(a_change(tmp_path, monkeypatch, {}), everywhere)
    assert action is not None
    action.act()
    assert [name for name in kept if not (logs / name).exists()] == []
    assert [name for name in gone if (logs / name).exists()] == []


def test_one_log_that_cannot_be_removed_keeps_no_other(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """chattr +a, as hardening guides have it."""
    real = _prune.disk.remove

    def remove(path: str) -> None:
        if path.endswith("access.log.2.gz"):
            raise PermissionError(1, "Operation not permitted", path)
        real(path)

    monkeypatch.setattr(_prune.disk, "remove", remove)
    action = _prune.rotated_logs(a_change(tmp_path, monkeypatch, {}), everywhere)
    assert action is not None
    action.act()
    assert not (logs / "nginx" / "error.log.1").exists() and not (logs / "syslog-20260101").exists()


@pytest.mark.parametrize(("archived", "active", "gain"), [(450, 100, None), (600, 100, 100), (20, 900, None)])
def test_vacuum_counts_archived_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archived: int, active: int, gain: int | None
) -> None:
    """journalctl(1), --vacuum-size=: or a journal that cannot shrink would be "changed" by every run."""
    sizes = {"/var/log/journal/id/system.journal": active << 20}
    sizes.update({f"/var/log/journal/id/user-1@{number}.journal": archived << 20 >> 7 for number in range(128)})
    monkeypatch.setattr(Host, "glob", lambda _self, _pattern: list(sizes))
    monkeypatch.setattr(_prune, "_blocks", lambda path: sizes[path])
    action = _prune.journal(a_change(tmp_path, monkeypatch, {}), everywhere, 500 << 20)
    assert (action.bytes >> 20 if action else None) == gain
