# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install and remove: files, units, and what they replaced (private, may change any time).

A manifest on the host names every file that was written and what was there before, and is written first: whatever interrupts this, the next
run finishes it or takes it back.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import time

from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk
from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Attributes, Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._watch import retention

MASK = "(not shown)"
MAX_BYTES = 16 << 20


class File(NamedTuple):
    """A file as it shall be."""

    data: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


class Installer:
    """One set of files on this host: `folder` keeps the manifest, `name` is that of the units."""

    def __init__(self, folder: str, name: str, check_mode: bool) -> None:
        self.folder, self.name, self.check_mode = folder, name, check_mode
        self.host = Host(time.monotonic() + 120)
        self.diff: List[Dict[str, str]] = []
        self.manifest: Dict[str, Any] = {"files": {}, "directories": []}
        text = self.host.maybe(folder + "/installed.json", MAX_BYTES)
        if text:
            try:
                self.manifest = json.loads(text)
            except ValueError:
                raise Refused("%s/installed.json is damaged; remove it, then what it names can no longer be put back" % folder) from None

    # -- present ---------------------------------------------------------------------------------------------------

    def install(self, files: Dict[str, File], keys: Dict[str, List[str]]) -> List[str]:
        """Make the files what they shall be and give back what is wanted no more; the paths that changed. `keys`: see _give_back."""
        changed = [path for path, wanted in sorted(files.items()) if path not in self.manifest["files"] or self._differs(path, wanted)]
        obsolete = [path for path in sorted(self.manifest["files"]) if path not in files]
        for path in changed:
            self._note(path, files[path])
        if not self.check_mode and changed:
            self._make_directories([self.folder + "/x", *changed])
            for path in changed:
                self._remember(path, files[path], keys.get(path, []))
            self._save()
            for path in changed:
                wanted = files[path]
                old = disk.attributes_of(disk.resolved(path))
                disk.write(disk.resolved(path), wanted.data, Attributes(wanted.uid, wanted.gid, wanted.mode, 0, old.context if old else ""))
        changed += [path for path in obsolete if self._give_back(path)]
        if not self.check_mode and obsolete:
            self._save()
        return changed

    def _differs(self, path: str, wanted: File) -> bool:
        old = disk.attributes_of(disk.resolved(path))
        return old is None or (old.uid, old.gid, old.mode) != (wanted.uid, wanted.gid, wanted.mode) or self._data(path) != wanted.data

    def _remember(self, path: str, wanted: File, keys: List[str]) -> None:
        entry = self.manifest["files"].get(path)
        if entry is None:
            # Everything else has a name of its own: what lies there was ours.
            old, before = (disk.attributes_of(disk.resolved(path)), self._data(path)) if path == retention.DOCKER else (None, None)
            entry = {"original": None if before is None else base64.b64encode(before).decode(), "attributes": old and list(old)}
        elif entry.get("keys") and hashlib.sha256(self._data(path) or b"").hexdigest() != entry["sha256"]:
            # Changed since by somebody else: that, without us, is what is put back.
            now = self.text_without_us(path)
            entry["original"] = None if now is None else base64.b64encode(now.encode("utf-8", "surrogateescape")).decode()
        self.manifest["files"][path] = dict(entry, sha256=hashlib.sha256(wanted.data).hexdigest(), keys=keys)

    def _make_directories(self, paths: List[str]) -> None:
        for path in paths:
            missing = []
            directory = os.path.dirname(path)
            while not os.path.isdir(directory):
                missing.append(directory)
                directory = os.path.dirname(directory)
            for directory in reversed(missing):
                disk.make_directory(disk.resolved(directory), 0, 0, 0o700 if directory.startswith("/var/lib/fediops.mastodon") else 0o755)
                self.manifest["directories"].append(directory)

    def text_without_us(self, path: str) -> Optional[str]:
        """Text of a file that we share with others, as it would be had we never come."""
        now, entry = self._data(path), self.manifest["files"].get(path)
        if now is None or entry is None:
            return None if now is None else now.decode("utf-8", "surrogateescape")
        if hashlib.sha256(now).hexdigest() == entry["sha256"]:
            return None if entry["original"] is None else base64.b64decode(entry["original"]).decode("utf-8", "surrogateescape")
        return retention.docker_without(now.decode("utf-8", "surrogateescape"), entry["keys"])

    # -- absent ----------------------------------------------------------------------------------------------------

    def remove(self) -> List[str]:
        """Give back everything; the paths that changed."""
        changed = [path for path in sorted(self.manifest["files"]) if self._give_back(path)]
        if os.path.isdir(self.folder):
            changed.append(self.folder)
            self.diff.append({"before_header": self.folder, "after_header": self.folder, "before": "state of the monitor\n", "after": ""})
            if not self.check_mode:
                shutil.rmtree(self.folder)
        if not self.check_mode:
            for directory in sorted(self.manifest["directories"], key=len, reverse=True):
                try:
                    os.rmdir(directory)
                except OSError:
                    continue  # somebody else put something there
        return changed

    def _give_back(self, path: str) -> bool:
        entry = self.manifest["files"][path]
        now = self._data(path)
        original = None if entry["original"] is None else base64.b64decode(entry["original"])
        if now is not None and entry.get("keys") and hashlib.sha256(now).hexdigest() != entry["sha256"]:
            # Changed since by somebody else: only what is ours goes.
            original = retention.docker_without(now.decode("utf-8", "surrogateescape"), entry["keys"]).encode("utf-8", "surrogateescape")
        if now != original:
            self._note(path, None if original is None else File(original))
            if not self.check_mode:
                if original is None:
                    disk.remove(disk.resolved(path))
                else:
                    disk.write(disk.resolved(path), original, Attributes(*(entry["attributes"] or (0, 0, 0o644, 0, ""))))
        if not self.check_mode:
            del self.manifest["files"][path]
        return now != original

    # -- units -----------------------------------------------------------------------------------------------------

    def timer_runs(self) -> bool:
        timer = self.name + ".timer"
        return self._says("is-enabled", timer) == "enabled" and self._says("is-active", timer) == "active"

    def systemctl(self, *words: str) -> None:
        """An act; HostError with systemd's own line when it fails. Nothing in check mode."""
        if self.check_mode:
            return
        done = act(["systemctl", *words], 60)
        if done.rc != 0:
            raise HostError("systemctl %s: %s" % (" ".join(words), done.last_line))

    def _says(self, verb: str, unit: str) -> str:
        return self.host.run(["systemctl", verb, unit]).out.decode("utf-8", "replace").strip()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _data(self, path: str) -> Optional[bytes]:
        if disk.attributes_of(disk.resolved(path)) is None:
            return None
        return self.host.read(path, MAX_BYTES)

    def _note(self, path: str, wanted: Optional[File]) -> None:
        before = self._data(path)
        texts = []
        for data in (before, None if wanted is None else wanted.data):
            if data is None:
                texts.append("")
            elif path.endswith((".pyz", "catalogue.json")):
                texts.append("made from the collection, sha256 %s\n" % hashlib.sha256(data).hexdigest())
            elif path.endswith(".secrets.json"):
                texts.append(MASK + "\n")
            else:
                texts.append(data.decode("utf-8", "replace"))
        self.diff.append({"before_header": path, "after_header": path, "before": texts[0], "after": texts[1]})

    def _save(self) -> None:
        disk.write(
            disk.resolved(self.folder + "/installed.json"),
            json.dumps(self.manifest, sort_keys=True).encode(),
            Attributes(0, 0, 0o600, 0, ""),
        )
