# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the processes of one Ansible run hand to each other. Private to this collection.

Every host's task runs in a process of its own, forked from the main one, so nothing learned in one is known to the next. They share
the controller's temporary folder of the run (0700, removed at its end).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import pickle
import secrets
import tempfile
import time
import typing as t

from ansible import constants as C
from ansible.utils.display import Display

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue

T = t.TypeVar("T")

# Set by the callback plugin in the main process before anything is forked: somebody will print the summaries at the end.
listening = False
started: float | None = None
width: int | None = None


def listen(columns: int) -> None:
    global listening, started, width  # noqa: PLW0603  inherited by the processes that Ansible forks
    # Ansible takes 79 columns for whatever is no terminal: a log file or a CI job has room for more.
    listening, started, width = True, time.time(), columns if os.isatty(1) else 100


def remembered(name: str, key: t.Any, make: t.Callable[[], T]) -> T:
    """What `make` gives, made once in a run: 500 hosts would else each read the whole catalogue."""
    path = _folder() / f"mastodon-{name}-{_digest(json.dumps(key, default=str))}.pickle"
    with contextlib.suppress(OSError, pickle.UnpicklingError, EOFError):
        return t.cast("T", pickle.loads(path.read_bytes()))  # noqa: S301  in a folder of this run and user alone
    value = make()
    with contextlib.suppress(OSError):
        _put(path, pickle.dumps(value))
    return value


def catalogue(directories: t.Iterable[str]) -> _catalogue.Catalogue:
    """Every known issue, read and checked once in a run: by the task that reads the facts, for those that judge them."""
    absolute = [str(pathlib.Path(name).expanduser().absolute()) for name in directories]
    return remembered("catalogue", absolute, lambda: _catalogue.load(absolute))


def secret(name: str) -> str:
    """64 hexadecimal digits, the same for all hosts of this run and for no other; empty when there is no place to share them."""
    path = _folder() / f"mastodon-secret-{name}"
    with contextlib.suppress(OSError):
        if not path.exists():
            handle, temporary = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(secrets.token_hex(32))
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)  # of the hosts' processes the first decides; what would replace its file could differ
            os.unlink(temporary)
        return path.read_text(encoding="ascii")
    return ""


def leave_summary(text: str) -> None:
    """Leave a text for the callback plugin to print after everything else."""
    _put(_folder() / f"mastodon-summary-{time.time_ns()}.txt", text.encode())


def show(text: str, display: str) -> None:
    """Print a text now, or leave it for the end (`last`) when somebody prints there, or not at all (`none`)."""
    if display == "last" and listening:
        leave_summary(text)
    elif display != "none":  # nobody prints at the end when the role is used in another playbook
        Display().display(text)


def take_summaries() -> list[str]:
    texts = []
    for path in sorted(_folder().glob("mastodon-summary-*.txt")):
        texts.append(path.read_text(encoding="utf-8"))
        path.unlink(missing_ok=True)
    return texts


class Board:
    """What the hosts of one task tell each other while they are worked on, and the locks they take."""

    def __init__(self, task: str) -> None:
        self.path = _folder() / f"mastodon-board-{_digest(task)}"
        self.path.mkdir(mode=0o700, exist_ok=True)

    def leave(self, kind: str, key: str, value: t.Any) -> None:
        _put(self.path / f"{kind}-{_digest(key)}.json", json.dumps({"key": key, "value": value}, default=str).encode())

    def read(self, kind: str) -> dict[str, t.Any]:
        """All that was left of a kind, by key."""
        found = {}
        for path in sorted(self.path.glob(f"{kind}-*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError):
                told = json.loads(path.read_text(encoding="utf-8"))
                found[str(told["key"])] = told["value"]
        return found

    @contextlib.contextmanager
    def lock(self, name: str, waiting: t.Callable[[], None]) -> t.Iterator[None]:
        """Only one process at a time; the kernel frees it when the process dies. `waiting` is called when it is taken."""
        with (self.path / f"lock-{_digest(name)}").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def archive_of_assets() -> pathlib.Path:
    """Where the assets that the build host packed lie for the others."""
    return _folder() / "mastodon-assets.tar.gz"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _folder() -> pathlib.Path:
    return pathlib.Path(str(C.DEFAULT_LOCAL_TMP))  # type: ignore[attr-defined]


def _put(path: pathlib.Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    os.replace(temporary, path)
