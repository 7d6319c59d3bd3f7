# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of assets: what was packed comes out the same, and what somebody put in to get out of the directory does not."""

from __future__ import annotations

import io
import json
import os
import pathlib
import tarfile

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _archive, _packs
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _assets_archive


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "live"
    for name, text in {"packs/.vite/manifest.json": '{"a.ts": {"file": "a-1.js"}}', "packs/a-1.js": "1", "assets/500.html": "oh"}.items():
        (root / "public" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "public" / name).write_text(text)
    return root


def packed(checkout: pathlib.Path, path: pathlib.Path) -> dict[str, object]:
    with path.open("wb") as stream:
        return _archive.pack(str(checkout), stream.fileno(), {"version": "4.4.22", "sources": "0" * 64})


def unpacked(archive: pathlib.Path, into: pathlib.Path, content: str) -> None:
    for name in _packs.FOLDERS:
        (into / name).mkdir(parents=True)
    with archive.open("rb") as stream:
        _archive.unpack(stream.fileno(), str(into), {"content": content})


def test_round_trip(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "a.tar.gz"
    about = packed(checkout, archive)
    assert _assets_archive.header(archive) == about and about["files"] == 3
    unpacked(archive, tmp_path / "other" / "public", str(about["content"]))
    assert _packs.content(str(tmp_path / "other")) == _packs.content(str(checkout)) == about["content"]
    assert _packs.incomplete(str(tmp_path / "other" / "public"), "vite") == ""


def test_one_byte_changed_on_the_way(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    about = packed(checkout, tmp_path / "a.tar.gz")
    (checkout / "public" / "packs" / "a-1.js").write_text("2")
    packed(checkout, tmp_path / "b.tar.gz")
    with pytest.raises(HostError, match="is not what the build host packed"):
        unpacked(tmp_path / "b.tar.gz", tmp_path / "other", str(about["content"]))


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_damaged_archives_are_said_so(damage: str, checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "a.tar.gz"
    about = packed(checkout, archive)
    data = archive.read_bytes()
    archive.write_bytes({"cut": data[: len(data) // 2], "garbage": b"x" * 500, "empty": b""}[damage])
    with pytest.raises(HostError, match="the archive is damaged"):
        unpacked(archive, tmp_path / "other", str(about["content"]))
    if damage != "cut":
        with pytest.raises(_assets_archive.ArchiveError, match="is not an archive of assets"):
            _assets_archive.header(archive)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, target, size
    return found


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd"),
        member("packs/../../../etc/passwd"),
        member("packs//x"),
        member("packs/./x"),
        member("../packs/x"),
        member("system/x"),
        member("packs"),
        member("packs/" + "x" * 500),
        member("packs/link", tarfile.SYMTYPE, "/etc"),
        member("packs/hard", tarfile.LNKTYPE, "/etc/passwd"),
        member("packs/device", tarfile.CHRTYPE),
        member("packs/fifo", tarfile.FIFOTYPE),
        member("packs/folder", tarfile.DIRTYPE),
    ],
    ids=lambda found: f"{found.name[:20]}-{found.type!r}",
)
def test_nothing_leads_out(bad: tarfile.TarInfo, tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(bad)
    with pytest.raises(HostError, match="has no place among assets"):
        unpacked(archive, tmp_path / "into" / "other", "")
    assert sorted(os.listdir(tmp_path / "into")) == ["other"] and os.listdir(tmp_path / "into" / "other" / "packs") == []


def test_a_name_twice_does_not_write_through_the_first(tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for text in (b"1", b"2"):
            tar.addfile(member("packs/x", size=1), io.BytesIO(text))
    with pytest.raises(FileExistsError):
        unpacked(archive, tmp_path / "other", "")
    assert (tmp_path / "other" / "packs" / "x").read_bytes() == b"1"


def test_too_much_is_not_taken(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_archive, "MAX_BYTES", 10)
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(member("packs/x", size=11), io.BytesIO(b"x" * 11))
    with pytest.raises(HostError, match="more than"):
        unpacked(archive, tmp_path / "other", "")


def test_headers_of_strangers(tmp_path: pathlib.Path) -> None:
    for told in ([], {}, {"version": "1", "sources": "x", "content": "y", "bytes": 1, "files": 1}):
        text = json.dumps(told).encode()
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
            tar.addfile(member(_archive.HEADER, size=len(text)), io.BytesIO(text))
        with pytest.raises(_assets_archive.ArchiveError, match="is not an archive of assets"):
            _assets_archive.header(tmp_path / "a.tar.gz")


def test_sources_that_differ_anywhere_have_another_fingerprint(tmp_path: pathlib.Path) -> None:
    (tmp_path / "app/javascript/styles").mkdir(parents=True)
    (tmp_path / "app/javascript/styles/a.css").write_text("1")
    (tmp_path / "package.json").write_text("{}")
    seen = {_packs.fingerprint(str(tmp_path))}
    (tmp_path / "app/javascript/styles/a.css").write_text("2")
    seen.add(_packs.fingerprint(str(tmp_path)))
    (tmp_path / "app/javascript/styles/a.css").rename(tmp_path / "app/javascript/styles/b.css")
    seen.add(_packs.fingerprint(str(tmp_path)))
    (tmp_path / "yarn.lock").write_text("")
    seen.add(_packs.fingerprint(str(tmp_path)))
    assert len(seen) == 4
    (tmp_path / ".env.production").write_text("SECRET_KEY_BASE=x")
    assert _packs.fingerprint(str(tmp_path)) in seen


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (None, "there is no manifest"),
        ("{", "the manifest is not JSON"),
        ("{}", "the manifest is empty"),
        ("[" * 100000, "the manifest is not JSON"),
        ('{"a": {"file": "gone.js"}}', "1 files of the manifest are not there, the first is gone.js"),
        ('{"a": {"file": "a-1.js"}}', ""),
    ],
)
def test_whether_packs_are_whole(manifest: str | None, why: str, checkout: pathlib.Path) -> None:
    path = checkout / "public/packs/.vite/manifest.json"
    if manifest is None:
        path.unlink()
    else:
        path.write_text(manifest)
    assert _packs.incomplete(str(checkout / "public"), "vite") == why
