# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a run on the host: what was done, and all that is needed to take it back (private, may change any time).

`run.json` is the state of the run (docs/remediation.md §2), replaced atomically. `NN-<fix>/journal.jsonl` holds one operation a line, on
disk before the operation is carried out; a torn last line is therefore an operation that never began.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk
from ansible_collections.fediops.mastodon.plugins.module_utils._runs import KEPT_RUNS, MAX_RUN_BYTES, PLACES, is_run_id, run_of

LEASE_SECONDS = 60.0
MAX_PROGRESS = 200
# A disk with less than this may be full before the run has ended, and a run that cannot write its journal cannot go on.
ROOM_BYTES = 4 << 20


class Journal:
    """One run; `run` is what run.json holds."""

    def __init__(self, folder: str, run: dict[str, Any]) -> None:
        self.folder = folder
        self.run = run

    @classmethod
    def create(cls, run_id: str, controller: str, steps: list[dict[str, Any]]) -> Journal:
        """Begin a run where there is room for its journal: /var/lib, or /run on a server whose disk is full or read-only."""
        run = {"id": run_id, "schema": 1, "controller": controller, "started_epoch": round(time.time(), 3), "pid": os.getpid(),
               "state": "acting", "steps": steps, "services_done": False, "progress": []}
        if cls.load(run_id) is not None:
            raise disk.Refused("there is a run %s on this host already, and its journal may be needed to take it back: "
                               "give another id" % run_id)
        problem: OSError | None = None
        for place in PLACES:
            journal = cls(os.path.join(place, "runs", run_id), run)
            try:
                _demand_room(place)
                _private(place)
                _private(place + "/runs")
                os.mkdir(journal.folder, 0o700)
                journal.save()
                return journal
            except OSError as trouble:
                problem = problem or trouble
                shutil.rmtree(journal.folder, ignore_errors=True)
        raise disk.Refused("no journal could be written below %s: %s" % (PLACES[0], problem))

    @classmethod
    def load(cls, run_id: str) -> Journal | None:
        for place in PLACES:
            folder = os.path.join(place, "runs", run_id)
            run = _read(folder)
            if run is not None:
                return cls(folder, run)
        return None

    def save(self) -> None:
        """Raises OSError when there is no room; the file before stays whole."""
        _write(self.folder + "/run.json", json.dumps(self.run).encode())

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def say(self, text: str) -> None:
        """Progress; that there is no room for it must stop nothing, least of all an undo, which makes room."""
        self.run["progress"] = [*self.run["progress"], {"epoch": round(time.time(), 1), "text": text[:300]}][-MAX_PROGRESS:]
        self.run["said"] = self.run.get("said", 0) + 1
        with contextlib.suppress(OSError):
            self.save()

    # -- whose run it is -----------------------------------------------------------------------------------------

    def lease(self) -> None:
        """The controller of this run is alive."""
        _write(self.folder + "/lease", b"%.3f" % time.time())

    def lease_left(self) -> float:
        """Seconds for which an unfinished run still belongs to its controller."""
        if self.run.get("alone"):
            return 0.0  # its module waits for it and holds the lock; without the lock it is dead
        try:
            with open(self.folder + "/lease", "rb") as stream:
                since = float(stream.read(40))
        except (OSError, ValueError):
            since = self.run["started_epoch"]
        return min(LEASE_SECONDS, max(0.0, since + LEASE_SECONDS - time.time()))

    # -- operations of a step ------------------------------------------------------------------------------------

    def _place_of(self, step: dict[str, Any]) -> str:
        return "%s/%02d-%s" % (self.folder, step["number"], step["fix"])

    def step_folder(self, step: dict[str, Any]) -> str:
        """The folder of a step, made when it is not there."""
        folder = self._place_of(step)
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
        return folder

    def record(self, step: dict[str, Any], operation: dict[str, Any]) -> None:
        """Write an operation down before it is carried out."""
        line = json.dumps(operation).encode() + b"\n"
        handle = os.open(self.step_folder(step) + "/journal.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _all(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

    def operations(self, step: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            with open(self._place_of(step) + "/journal.jsonl", "rb") as stream:
                lines = stream.read().split(b"\n")
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def save_content(self, step: dict[str, Any], data: bytes) -> str:
        """Keep the content of a file that is about to change; the name to give to `saved`."""
        folder = self.step_folder(step) + "/saved"
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
        name = "%03d" % len(os.listdir(folder))
        _write(folder + "/" + name, data)
        return name

    def saved(self, step: dict[str, Any], name: str) -> bytes:
        with open(self.place_of_saved(step, name), "rb") as stream:
            return stream.read()

    def place_of_saved(self, step: dict[str, Any], name: str) -> str:
        return self._place_of(step) + "/saved/" + name


def journals() -> list[Journal]:
    """All runs of this host, newest first by the clock of the host: ids are made with those of the controllers."""
    found = {}
    for place in reversed(PLACES):
        try:
            names = os.listdir(place + "/runs")
        except OSError:
            continue
        for name in names:
            if is_run_id(name):
                folder = os.path.join(place, "runs", name)
                run = _read(folder)
                if run is not None:
                    found[name] = Journal(folder, run)
    return sorted(found.values(), key=lambda journal: (journal.run["started_epoch"], journal.run["id"]), reverse=True)


def forget_old() -> list[Journal]:
    """Runs behind the newest 20, which the caller forgets (`Journal.forget`) once it has taken away what they kept elsewhere."""
    return [journal for journal in journals()[KEPT_RUNS:] if journal.run["state"] in ("settled", "rolled_back")]


def _read(folder: str) -> dict[str, Any] | None:
    try:
        with open(folder + "/run.json", "rb") as stream:
            return run_of(stream.read(MAX_RUN_BYTES))
    except OSError:
        return None


def _demand_room(place: str) -> None:
    space = os.statvfs(os.path.dirname(place))
    if space.f_bavail * space.f_frsize < ROOM_BYTES or (space.f_files and space.f_favail < 100):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)


def _private(folder: str) -> None:
    if not os.path.isdir(folder):
        os.mkdir(folder, 0o700)


def _write(path: str, data: bytes) -> None:
    temporary = path + ".new"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)
    # Only then the name is on disk too: what follows must not outlive it when the power fails.
    disk.sync_directory(path)


def _all(handle: int, data: bytes) -> None:
    """On a disk that is nearly full a write may take only a part, and says so by no error."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view):]
