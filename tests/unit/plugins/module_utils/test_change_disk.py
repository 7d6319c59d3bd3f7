# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing without being led astray. Run as root, as CI does: whose file a file is can only be changed by root."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import struct
import typing

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Attributes, Refused

NOBODY = 65534


def test_write_keeps_what_is_asked_and_leaves_no_temporary_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    inode = path.stat().st_ino
    disk.write(str(path), b"new", Attributes(NOBODY, NOBODY, 0o640, 1_000_000_000, ""))
    status = path.stat()
    assert path.read_bytes() == b"new"
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777, status.st_mtime_ns) == (NOBODY, NOBODY, 0o640, 1_000_000_000)
    assert status.st_ino != inode, "a reader of the old file must keep the whole old text"
    assert os.listdir(tmp_path) == ["f"]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    def no_room(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        disk.write(str(path), b"new", Attributes(0, 0, 0o644, 0, ""))
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["f"])


def test_directory_that_becomes_a_link_is_not_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        disk.write(str(tmp_path / "way" / "f"), b"x", Attributes(0, 0, 0o644, 0, ""))
    assert os.listdir(tmp_path / "secret") == []


def test_link_to_somebody_elses_file_is_refused(tmp_path: pathlib.Path) -> None:
    target, link = tmp_path / "shadow", tmp_path / ".env.production"
    target.write_text("root's")
    link.symlink_to(target)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(Refused, match="is a link of user 65534 to a file of user 0; it is not followed"):
        disk.resolved(str(link))
    os.chown(target, NOBODY, NOBODY)
    assert disk.resolved(str(link)) == str(target)


def test_link_to_nothing_is_refused(tmp_path: pathlib.Path) -> None:
    link = tmp_path / "l"
    link.symlink_to(tmp_path / "gone")
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(Refused, match="link to nothing"):
        disk.resolved(str(link))


def test_dress_never_goes_through_a_link(tmp_path: pathlib.Path) -> None:
    target, link = tmp_path / "t", tmp_path / "l"
    target.write_text("x")
    target.chmod(0o600)
    link.symlink_to(target)
    with pytest.raises(OSError, match="is a link"):
        disk.dress(str(link), Attributes(NOBODY, NOBODY, 0o777, 0, ""))
    assert (target.stat().st_uid, target.stat().st_mode & 0o777) == (0, 0o600)


def test_exchange_swaps_names_and_back(tmp_path: pathlib.Path) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "packs" / "old.js").touch()
    (tmp_path / "new" / "new.js").touch()
    disk.exchange(str(tmp_path / "packs"), str(tmp_path / "new"))
    assert os.listdir(tmp_path / "packs") == ["new.js"]
    disk.exchange(str(tmp_path / "packs"), str(tmp_path / "new"))
    assert os.listdir(tmp_path / "packs") == ["old.js"]


def test_attributes_of_a_path_is_that_of_the_link_itself(tmp_path: pathlib.Path) -> None:
    assert disk.attributes_of(str(tmp_path / "nothing")) is None
    assert disk.attributes_of(str(tmp_path / "nothing" / "below")) is None
    (tmp_path / "f").write_text("x")
    (tmp_path / "f").chmod(0o640)
    found = disk.attributes_of(str(tmp_path / "f"))
    assert found is not None and found.mode == 0o640


def test_write_keeps_access_lists(tmp_path: pathlib.Path) -> None:
    """Without the list its mask would become the rights of the group."""
    path = tmp_path / "f"
    path.write_text("old")
    path.chmod(0o600)
    entries = [(1, 6, 0xFFFFFFFF), (2, 4, NOBODY), (4, 0, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", acl)
    known = disk.attributes_of(str(path))
    assert known is not None
    disk.write(str(path), b"new", known)
    assert os.getxattr(path, "system.posix_acl_access") == acl and path.read_text() == "new"


@pytest.mark.parametrize("killed_at", range(4))
def test_exchange_that_was_broken_off_is_undone_where_there_is_none(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """OpenZFS before 2.2 and NFS: three renames, and a kill after the first leaves nothing in the place of what is served."""
    for name in ("served", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    served, new = str(tmp_path / "served"), str(tmp_path / "new")
    inode = os.stat(served).st_ino
    monkeypatch.setattr(disk, "_renameat2", lambda *_arguments: errno.EINVAL)
    real = os.rename

    def dying(left: int) -> typing.Callable[..., None]:
        def rename(*arguments: typing.Any, **named: typing.Any) -> None:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            real(*arguments, **named)

        return rename

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(os, "rename", dying(killed_at))
        disk.exchange(served, new)
    for undo_killed_at in (0, 1, 2, 3, 3):
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(os, "rename", dying(undo_killed_at))
            disk.exchange_back(served, new, inode)
    assert (os.listdir(served), os.listdir(new)) == (["served"], ["new"])
    assert sorted(os.listdir(tmp_path)) == ["new", "served"]
