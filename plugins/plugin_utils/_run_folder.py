# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the processes of one Ansible run hand to each other. Private to this collection.

Every host's task runs in a process of its own, forked from the main one, so nothing learned in one is known to the next. They share
the controller's temporary folder of the run (0700, removed at its end).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import tempfile
import time
import typing as t

from ansible import constants as C

# Set by the callback plugin in the main process before anything is forked: somebody will print the summaries at the end.
listening = False
started: float | None = None
width: int | None = None


def listen(columns: int) -> None:
    global listening, started, width  # noqa: PLW0603  inherited by the processes that Ansible forks
    # Ansible takes 79 columns for whatever is no terminal: a log file or a CI job has room for more.
    listening, started, width = True, time.time(), columns if os.isatty(1) else 100


def remembered(name: str, key: t.Any, make: t.Callable[[], t.Any]) -> t.Any:
    """The JSON value `make` gives, made once in a run: 500 hosts would else each read the whole catalogue."""
    digest = hashlib.sha256(json.dumps(key, default=str).encode()).hexdigest()[:16]
    path = _folder() / f"mastodon-{name}-{digest}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    value = make()
    with contextlib.suppress(OSError):
        _put(path, json.dumps(value))
    return value


def leave_summary(text: str) -> None:
    """Leave a text for the callback plugin to print after everything else."""
    _put(_folder() / f"mastodon-summary-{time.time_ns()}.txt", text)


def take_summaries() -> list[str]:
    texts = []
    for path in sorted(_folder().glob("mastodon-summary-*.txt")):
        texts.append(path.read_text(encoding="utf-8"))
        path.unlink(missing_ok=True)
    return texts


def _folder() -> pathlib.Path:
    return pathlib.Path(str(C.DEFAULT_LOCAL_TMP))  # type: ignore[attr-defined]


def _put(path: pathlib.Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(temporary, path)
