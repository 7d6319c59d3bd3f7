# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's files: all rendered first, then each put in its place at once. Private to this collection."""

from __future__ import annotations

import os
import pathlib
import tempfile

from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake


class WriteError(Mistake):
    """One sentence: what could not be written, and why."""


def write(directory: pathlib.Path, files: dict[str, str]) -> list[str]:
    """Write rendered files. Nothing is replaced before everything is on the disk, so a full one leaves the last report whole."""
    content = {name: text.encode("utf-8") for name, text in files.items()}
    waiting: list[tuple[str, pathlib.Path]] = []
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for name, data in content.items():
            handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
            waiting.append((temporary, directory / name))
            with os.fdopen(handle, "wb") as stream:
                os.fchmod(handle, 0o640)
                stream.write(data)
                stream.flush()
                os.fsync(handle)
        for temporary, target in waiting:
            os.replace(temporary, target)
    except OSError as error:
        raise WriteError(
            f"the report cannot be written to {directory}: {error.strerror}; set mastodon_report_dir to a folder you may write to"
        ) from None
    finally:
        for temporary, _target in waiting:
            pathlib.Path(temporary).unlink(missing_ok=True)
    return [str(target) for _temporary, target in waiting]
