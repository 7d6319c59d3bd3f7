# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Assets on their way from the host that built them to those that serve them, by way of the controller.

For other action plugins: `header(path)` and `options_for(action, path, task_vars)`, which gives the options of the fix copy_assets.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import tarfile
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

MODULE = "fediops.mastodon.mastodon_assets"
HEADER = "fediops-assets.json"
MAX_ARCHIVE_BYTES = 2 << 30
MAX_HEADER_BYTES = 65536
REMOTE_NAME = "fediops-assets.tar.gz"
KEYS = ("version", "sources", "content", "bytes", "files")

Result = dict[str, t.Any]


class ArchiveError(Exception):
    """One sentence for the user."""


def fetch(action: ActionBase, arguments: Result, task_vars: Result, dest: pathlib.Path) -> Result:
    """Pack on the host of this action (the build host) and bring the archive to `dest` here; the result of the module."""
    remote = _remote(action)
    result: Result = action._execute_module(module_name=MODULE, module_args={**arguments, "archive": remote}, task_vars=task_vars)
    if result.get("failed") or "archive" not in result:
        return result
    told = result.pop("archive")
    if int(told["size_bytes"]) > MAX_ARCHIVE_BYTES:
        raise ArchiveError(f"the archive of the assets has {told['size_bytes']} bytes, more than {MAX_ARCHIVE_BYTES}")
    dest.parent.mkdir(parents=True, exist_ok=True)
    arriving = dest.with_name(dest.name + ".arriving")
    try:
        action._connection.fetch_file(remote, str(arriving))
        if not arriving.is_file() or sha256_of(arriving) != told["sha256"]:
            raise ArchiveError("the archive of the assets did not arrive whole (SHA-256 differs)")
        os.replace(arriving, dest)
    finally:
        arriving.unlink(missing_ok=True)
    return {**result, "dest": str(dest), "sha256": told["sha256"], "size_bytes": told["size_bytes"]}


def options_for(action: ActionBase, path: pathlib.Path, task_vars: Result, root: str = "") -> Result:
    """Options of the fix copy_assets for the host of this action; the archive is sent unless the host has these assets, or in check mode.

    The archive lies in the temporary directory of the action, which is removed when the action ends: follow the run to its end.
    """
    about = header(path)
    options = {key: str(about[key]) for key in KEYS}
    if action._task.check_mode:
        return options
    here = action._execute_module(module_name=MODULE, module_args={"state": "reported", "root": root}, task_vars=task_vars)
    if here.get("content") == about["content"] and not here.get("needed"):
        return options
    remote = _remote(action)
    action._transfer_file(str(path), remote)  # type: ignore[no-untyped-call]
    return {**options, "archive": remote, "sha256": sha256_of(path)}


def _remote(action: ActionBase) -> str:
    """A name in the temporary directory of the action, which belongs to the user who is logged in and goes when the action ends."""
    shell = action._connection._shell
    return str(shell.join_path(shell.tmpdir or action._make_tmp_path(), REMOTE_NAME))


def header(path: pathlib.Path) -> Result:
    """What an archive says of itself."""
    if not path.is_file():
        raise ArchiveError(f"there is no archive of assets at {path}: mastodon_assets with state=packed makes one")
    try:
        with tarfile.open(path, mode="r|gz") as tar:
            member = tar.next()
            stream = tar.extractfile(member) if member is not None and member.isreg() and member.name == HEADER else None
            told = json.loads(stream.read(MAX_HEADER_BYTES)) if stream is not None else None
    except (OSError, EOFError, tarfile.TarError, ValueError) as problem:
        raise ArchiveError(f"{path} is not an archive of assets: {clean_line(problem, 120)}") from None
    if not isinstance(told, dict) or not all(key in told for key in KEYS):
        raise ArchiveError(f"{path} is not an archive of assets: mastodon_assets with state=packed makes one")
    if not all(re.fullmatch(r"[0-9a-f]{64}", str(told[key])) for key in ("sources", "content")):
        raise ArchiveError(f"{path} is not an archive of assets: its digests are none")
    return told


def sha256_of(path: pathlib.Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            whole.update(part)
    return whole.hexdigest()
