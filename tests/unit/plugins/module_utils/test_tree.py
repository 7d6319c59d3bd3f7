# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owner and mode of a hostile tree: nothing outside is touched, nothing right is touched, and all of it is taken back. Needs root."""

from __future__ import annotations

import os
import time

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils import _tree
from ansible_collections.fediops.mastodon.plugins.module_utils._change import journal as journals
from ansible_collections.fediops.mastodon.plugins.module_utils._change import run, undo
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Asked, Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import fix_media_permissions
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.media import TREES

APP = 65534
USER = _tree.User(APP, APP, frozenset([APP]))


def quiet(_number: int) -> None:
    pass


def seen(top: Path) -> dict[str, tuple[int, int, int]]:
    return {str(path): (path.lstat().st_uid, path.lstat().st_gid, path.lstat().st_mode & 0o7777) for path in [top, *sorted(top.rglob("*"))]}


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """live/public/system as a careless copy by root leaves it."""
    for each in (tmp_path, *tmp_path.parents):
        each.chmod(each.stat().st_mode | 0o111)
    top = tmp_path / "live" / "public" / "system"
    (top / "accounts" / "1").mkdir(parents=True)
    (top / "accounts" / "1" / "a.png").write_text("x")
    (top / "accounts" / "1" / "a.png").chmod(0o4755)
    (top / "cache").mkdir(0o750)
    os.chown(top / "cache", 0, 33)
    (top / "lost+found").mkdir(0o700)
    return top


def give(tmp_path: Path, top: Path) -> int:
    path = str(tmp_path / "list.gz")
    _tree.survey([str(top)], {str(top): TREES}, USER, path, quiet)
    return _tree.give(path, USER, lambda uid: 0 if uid == 0 else -1, quiet)


def test_only_what_is_wrong_is_given_and_no_right_is_widened(media: Path, tmp_path: Path) -> None:
    os.chown(media / "accounts" / "1", APP, APP)
    (media / "accounts" / "1").chmod(0o755)
    before = seen(media)
    assert give(tmp_path, media) == 4
    after = seen(media)
    assert after[str(media)] == after[str(media / "accounts")] == (APP, APP, 0o755)
    assert after[str(media / "cache")] == (APP, 33, 0o750), "the group of the web server is not taken away"
    assert after[str(media / "accounts" / "1" / "a.png")] == (APP, APP, 0o755), "nobody's program becomes setuid of another"
    unchanged = [str(media / "accounts" / "1"), str(media / "lost+found")]
    assert {path: after[path] for path in unchanged} == {path: before[path] for path in unchanged}
    assert give(tmp_path, media) == 0
    assert seen(media) == after


def test_links_hard_links_and_other_filesystems_are_left(media: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(0o700)
    (outside / "shadow").write_text("secret")
    (media / "cache" / "link").symlink_to(outside)
    (media / "cache" / "file").symlink_to(outside / "shadow")
    os.link(outside / "shadow", media / "cache" / "hard")
    os.mkfifo(media / "cache" / "fifo")
    before = seen(outside)
    found = _tree.survey([str(media)], {str(media): TREES}, USER, None, quiet)
    assert found.left == [str(media / "cache" / "hard")]
    give(tmp_path, media)
    assert (seen(outside), (media / "cache" / "fifo").stat().st_uid) == (before, 0)


def test_what_is_swapped_between_looking_and_acting_is_not_followed(media: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "1").mkdir(parents=True)
    (outside / "1" / "a.png").write_text("theirs")
    path = str(tmp_path / "list.gz")
    _tree.survey([str(media)], {}, USER, path, quiet)
    (media / "accounts" / "1").rename(tmp_path / "away")
    (media / "accounts" / "1").symlink_to(outside / "1")
    before = seen(outside)
    _tree.give(path, USER, lambda uid: 0, quiet)
    assert seen(outside) == before
    (media / "accounts" / "1").unlink()
    (outside / "1").rename(media / "accounts" / "1")
    _tree.give(path, USER, lambda uid: 0, quiet)
    assert (media / "accounts" / "1" / "a.png").stat().st_uid == 0, "another file of that name was given away"


def a_change(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool = False, **facts: Any) -> Change:
    monkeypatch.setattr(journals, "PLACES", (str(tmp_path / "state"),))
    install = {"root": str(tmp_path / "live"), "media_root": str(media), "storage": "local", "units": [],
               "owner": {"user": "nobody", "uid": APP, "gid": APP, "group": "nogroup", "home": "/"}}  # fmt: skip
    step = run.new_steps([{"fix": "fix_media_permissions"}])[0]
    journal = None if check else Journal.create("2026-11-21T09-00-00Z-%04x" % (time.time_ns() % 65536), "", [step])
    return Change(step, journal, {"media": facts}, {**install, **facts.get("install", {})}, {})


def test_a_step_is_foreseen_taken_back_and_not_done_twice(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = seen(media)
    foreseen = a_change(media, tmp_path, monkeypatch, check=True, unwritable=[str(media), str(media / "accounts")])
    fix_media_permissions.fix(foreseen)
    assert "4 directories and 1 files of root:root, root:" in foreseen.step["changes"][0]["what"], foreseen.step
    assert seen(media) == before
    change = a_change(media, tmp_path, monkeypatch, unwritable=[str(media), str(media / "accounts")])
    fix_media_permissions.fix(change)
    assert change.journal is not None and seen(media) != before and fix_media_permissions.check(change) == ""
    again = a_change(media, tmp_path, monkeypatch)
    fix_media_permissions.fix(again)
    assert again.step["changes"] == []
    assert undo.take_back(Host(time.monotonic() + 60), change.journal, change.step, fix_media_permissions.UNDO, Asked()) == []
    assert seen(media) == before


def test_only_the_failing_tree(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(media, APP, APP)
    fix_media_permissions.fix(a_change(media, tmp_path, monkeypatch, unwritable=[str(media / "cache")]))
    assert ((media / "cache").stat().st_uid, (media / "accounts").stat().st_uid) == (APP, 0)


@pytest.mark.parametrize(
    ("install", "reason"),
    [
        ({"storage": "s3"}, "object storage"),
        ({"media_root": "/etc/ssh"}, "a directory of the system"),
        ({"media_root": "/var/log"}, "holds more than media"),
        ({"media_root": "MADE_LINK"}, "is a link that user"),
    ],
)
def test_what_the_app_may_not_be_given(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: dict[str, str], reason: str
) -> None:
    """PAPERCLIP_ROOT_PATH stands in a file of the app's user, and links are his to make."""
    (tmp_path / "made").symlink_to("/var/log")
    os.chown(tmp_path / "made", APP, APP, follow_symlinks=False)
    install = {key: value.replace("MADE_LINK", str(tmp_path / "made")) for key, value in install.items()}
    with pytest.raises(Refused, match=reason):
        fix_media_permissions.fix(a_change(media, tmp_path, monkeypatch, install=install))


def test_a_way_that_is_closed_further_up_is_named(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "live").chmod(0o700)
    with pytest.raises(Refused, match="may not enter .*/live "):
        fix_media_permissions.fix(a_change(media, tmp_path, monkeypatch))


def test_a_root_that_is_lost_is_made(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = media.parent / "gone"
    fix_media_permissions.fix(a_change(gone, tmp_path, monkeypatch))
    assert (gone.stat().st_uid, gone.stat().st_mode & 0o777) == (APP, 0o755)


def test_many_files_need_little_memory_and_a_small_journal(tmp_path: Path) -> None:
    import tracemalloc

    top = tmp_path / "accounts"
    for number in range(200):
        (top / str(number)).mkdir(parents=True)
        for name in range(100):
            (top / str(number) / ("%d-0123456789abcdef.jpeg" % name)).touch()
    path = str(tmp_path / "list.gz")
    tracemalloc.start()
    found = _tree.survey([str(top)], {}, USER, path, quiet)
    _tree.give(path, USER, lambda uid: 0, quiet)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"20000 files: peak {peak >> 10} KiB, journal {os.path.getsize(path) >> 10} KiB")
    assert (found.directories, found.files) == (201, 20000) and peak < 4 << 20 and os.path.getsize(path) < 20 * 20000


@pytest.mark.parametrize("there", [True, False])
def test_a_directory_that_is_named_for_its_power_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """PAPERCLIP_ROOT_PATH=/var/lib/cloud/scripts/per-boot: empty, root's, and what lies in it is run by root at the next boot."""
    per_boot = tmp_path / "cloud" / "per-boot"
    (per_boot if there else per_boot.parent).mkdir(parents=True)
    with pytest.raises(Refused, match="chown it by hand" if there else "make it by hand"):
        fix_media_permissions.fix(a_change(per_boot, tmp_path, monkeypatch))
    assert not per_boot.exists() or per_boot.stat().st_uid == 0
