# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled assets as one archive: packed on the host that built them, unpacked beside those of another (private, may change any time).

The first member says what the archive is (HEADER). What is unpacked comes from elsewhere: only regular files below packs/ and assets/ are
taken, each made new, so that no name or link of the archive leads out of the directory.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zlib

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _packs
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

HEADER = "fediops-assets.json"
MAX_HEADER_BYTES = 65536
MAX_BYTES = 2 << 30
MAX_NAME = 400


def pack(root: str, handle: int, about: dict[str, Any]) -> dict[str, Any]:
    """Write the archive of public/packs and public/assets to an open file; `about` with content, files and bytes filled in."""
    public = root + "/public"
    names = [folder + "/" + name for folder in _packs.FOLDERS if os.path.isdir(public + "/" + folder)
             for name in _packs.files_below(public + "/" + folder)]
    total = sum(os.lstat(public + "/" + name).st_size for name in names)
    if total > MAX_BYTES:
        raise HostError("the assets in %s are larger than %d bytes" % (public, MAX_BYTES))
    about = dict(about, content=_packs.content(root), files=len(names), bytes=total)
    with os.fdopen(os.dup(handle), "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz", compresslevel=3) as tar:
        text = json.dumps(about).encode()
        tar.addfile(_member(HEADER, len(text)), io.BytesIO(text))
        for name in names:
            source = os.open(public + "/" + name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(source, "rb") as content:
                tar.addfile(_member(name, os.fstat(content.fileno()).st_size), content)
    return about


def unpack(handle: int, into: str, expected: dict[str, Any]) -> dict[str, Any]:
    """Unpack from an open file into a directory that holds empty `packs` and `assets`; HostError when the archive is not what it says."""
    os.lseek(handle, 0, os.SEEK_SET)
    files = total = 0
    try:
        with os.fdopen(os.dup(handle), "rb") as stream, tarfile.open(fileobj=stream, mode="r|gz") as tar:
            for member in tar:
                if member.name == HEADER:
                    continue
                files, total = files + 1, total + member.size
                if files > _packs.MAX_FILES or total > MAX_BYTES:
                    raise HostError("the archive holds more than %d files or %d bytes" % (_packs.MAX_FILES, MAX_BYTES))
                _take(tar, member, into)
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError) as problem:
        raise HostError("the archive is damaged: %s" % problem) from None
    if _packs.digest(into, _packs.FOLDERS) != expected["content"]:
        raise HostError("what the archive holds is not what the build host packed")
    return {"files": files}


def sha256_of(handle: int) -> str:
    whole = hashlib.sha256()
    os.lseek(handle, 0, os.SEEK_SET)
    with os.fdopen(os.dup(handle), "rb") as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            whole.update(part)
    return whole.hexdigest()


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, into: str) -> None:
    parts = member.name.split("/")
    if (not member.isreg() or member.issparse() or len(parts) < 2 or parts[0] not in _packs.FOLDERS or len(member.name) > MAX_NAME
            or any(part in ("", ".", "..") or "\0" in part for part in parts)):
        raise HostError("the archive holds %r, which has no place among assets" % member.name[:80])
    content = tar.extractfile(member)
    if content is None:
        raise HostError("the archive is damaged: %r cannot be read" % member.name[:80])
    os.makedirs(into + "/" + "/".join(parts[:-1]), 0o755, exist_ok=True)
    # All directories were made here just now by this user, and a file is never opened that is there already.
    handle = os.open(into + "/" + member.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "wb") as stream:
        for part in iter(lambda: content.read(1 << 20), b""):
            stream.write(part)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member
