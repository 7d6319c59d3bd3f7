# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe may leave behind on a server, on disk before it is made there (private, may change any time).

One file a run, a JSON value a line, only ever appended to: what a killed run wrote is whole but for its last line. A lock on the file
says that its run is alive; the file goes when nothing is left behind. No token is in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._probe.client import Unfit

MARKER = re.compile(r"fediops-probe-(\d{10})-[0-9a-f]{16}")
MAX_FILE_BYTES = 65536
MOST_FILES = 50


def new_marker() -> str:
    """What every post of a probe begins with: by it a post is found again whose id was never heard."""
    return "fediops-probe-%d-%s" % (time.time(), secrets.token_hex(8))


def age_seconds(marker: str) -> float:
    """How long ago something was marked, by the clock of this machine."""
    match = MARKER.match(marker)
    return time.time() - int(match.group(1)) if match else 0.0


def default_folder() -> str:
    if os.geteuid() == 0:
        return "/var/lib/fediops.mastodon/probes"
    state = os.environ.get("XDG_STATE_HOME", "")
    return os.path.join(state if state.startswith("/") else os.path.expanduser("~/.local/state"), "fediops.mastodon", "probes")


class Record:
    """The open entries of one run: marker -> {kind: post|media, id?, sure}; `sure`: the server is done with the request that makes it."""

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self.entries: dict[str, dict[str, Any]] = {}
        self.account = ""
        self._handle = handle

    @classmethod
    def begin(cls, folder: str, url: str) -> Record:
        """A new one; Unfit when it cannot be written, for then nothing may be posted."""
        path = os.path.join(folder, new_marker() + ".jsonl")
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            record = cls(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            fcntl.flock(record._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            record._write({"url": url})
        except OSError as problem:
            raise Unfit("nothing was posted, for what may have to be deleted later cannot be written down in %s: %s; name another folder "
                        "with state_dir (mastodon_probe_state_dir)" % (folder, problem.strerror)) from None
        return record

    @classmethod
    def left_by_others(cls, folder: str, url: str) -> list[Record]:
        """Those of runs for this server that ended before they had deleted everything; locked until they are closed."""
        found = []
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder))[:MOST_FILES]:
                if name.endswith(".jsonl") and MARKER.match(name):
                    record = cls._adopt(os.path.join(folder, name), url)
                    if record is not None:
                        found.append(record)
        return found

    @classmethod
    def _adopt(cls, path: str, url: str) -> Record | None:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        record = cls(path, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink and record._read() == url:
                return record
        except OSError:
            pass  # alive, or no file of ours
        os.close(handle)
        return None

    def _read(self) -> str:
        url = ""
        for line in os.read(self._handle, MAX_FILE_BYTES).splitlines():
            try:
                told = json.loads(line)
                url = told.get("url", url)
                self.account = told.get("account", self.account)
                if MARKER.fullmatch(told.get("marker", "")):
                    self._fold(told)
            except (ValueError, AttributeError, TypeError):
                continue  # half a line: what it would have told of was not begun
        for entry in self.entries.values():
            entry["sure"] = False  # nobody waited for the end
        return url

    def _fold(self, told: dict[str, Any]) -> None:
        if told.get("gone"):
            self.entries.pop(told["marker"], None)
        else:
            entry = self.entries.setdefault(told["marker"], {"kind": "media" if told.get("kind") == "media" else "post", "sure": False})
            entry.update({key: told[key] for key in ("id", "sure") if key in told})

    def _write(self, told: dict[str, Any]) -> None:
        os.write(self._handle, json.dumps(told).encode() + b"\n")
        os.fsync(self._handle)

    def note(self, marker: str, **told: Any) -> None:
        """kind: about to be made; id: made; sure: the server is done with the request; gone: there is nothing to delete (any more)."""
        told["marker"] = marker
        self._fold(told)
        try:
            self._write(told)
        except OSError as problem:
            if "kind" in told:  # before anything was sent
                del self.entries[marker]
                raise Unfit("nothing was posted: %s cannot be written (%s)" % (self.path, problem.strerror)) from None

    def belongs_to(self, account: str) -> None:
        if account and account != self.account:
            self.account = account
            with contextlib.suppress(OSError):
                self._write({"account": account})

    def close_if_done(self) -> bool:
        if not self.entries:
            self.close()
        return not self.entries

    def close(self) -> None:
        """Forget it when nothing is left, else keep it for the next run."""
        if not self.entries:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        os.close(self._handle)
