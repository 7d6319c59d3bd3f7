# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one fix may do: look, act, and have every act written down first (private, may change any time).

docs/remediation.md §3 lists the members. In check mode the same code runs; what would be written is kept in memory, so that a later step
finds what an earlier one would have made.
"""

from __future__ import annotations

import contextlib
import os
import time

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import disk, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import Acted, act
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Attributes, Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import Redactor, strip_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.journal import Journal

MAX_DIFF_CHARACTERS = 20000
MAX_FILE_BYTES = 64 << 20
MASK = "********"
DIRECTORY = object()  # in the overlay: a directory would be here
_ATTRIBUTES = "attributes of "


class Asked:
    """What the steps of a run ask of its services; carried out once, at the end (`_change/services.py`)."""

    def __init__(self) -> None:
        self.reload_units = False
        self.restart: list[str] = []
        self.reload: list[str] = []
        self.start: list[str] = []
        self.awaited: list[str] = []  # started by the step itself, and not up yet

    def as_dict(self) -> dict[str, Any]:
        return {"reload_units": self.reload_units, "restart": self.restart, "reload": self.reload, "start": self.start,
                "awaited": self.awaited}

    @classmethod
    def of(cls, told: dict[str, Any]) -> Asked:
        asked = cls()
        asked.reload_units = bool(told.get("reload_units"))
        asked.restart, asked.reload, asked.start, asked.awaited = (
            list(told.get(key, [])) for key in ("restart", "reload", "start", "awaited"))
        return asked


class Change:
    """One step of a run. `journal` is None in check mode."""

    def __init__(self, step: dict[str, Any], journal: Journal | None, facts: dict[str, Any], install: dict[str, Any],
                 overlay: dict[str, Any], secrets: Sequence[str] = ()) -> None:
        self.step = step
        self.journal = journal
        self.facts = facts
        self.install = install
        self.host = Host(time.monotonic() + 10 * 365 * 86400)  # an act has deadlines of its own
        self.asked = Asked()
        self._overlay = overlay
        self._redactor = Redactor(secrets, [unit["name"] for unit in install.get("units", [])])
        self.stopped: list[str] = []

    # -- what it is about ------------------------------------------------------------------------------------------

    @property
    def check_mode(self) -> bool:
        return self.journal is None

    @property
    def options(self) -> dict[str, Any]:
        return self.step.get("options") or {}

    @property
    def issues(self) -> list[str]:
        return self.step.get("issues") or []

    def units(self, *roles: str) -> list[dict[str, Any]]:
        """Units of these roles (private form, with `_env` and `_argv`), shims left out; all of them without a role."""
        return [unit for unit in self.install.get("units", []) if not unit["shim"] and (not roles or unit["role"] in roles)]

    def owner(self) -> Owner:
        """The user Mastodon runs as."""
        if "owner" not in self.install:
            raise Refused("it is not known which user Mastodon runs as on this host")
        return self.host.owner(self.install["owner"])

    def say(self, text: str) -> None:
        if self.journal is not None:
            self.journal.say("%s: %s" % (self.step["fix"], self.clean(text)))

    def clean(self, text: str) -> str:
        """The text without secrets of this host and without control characters; still as many lines."""
        return "\n".join(self._redactor.redact(strip_controls(line)) for line in text.split("\n"))

    def cannot_undo(self, why: str) -> None:
        self.step["undoable"] = False
        self.step["kept_because"] = why

    # -- look ------------------------------------------------------------------------------------------------------

    def text(self, path: str) -> str | None:
        """Content of a text file as it is, or would be after earlier steps; None when there is none."""
        data = self._data(self._resolved(path))
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def exists(self, path: str) -> bool:
        path = self._resolved(path)
        return self._overlay[path] is not None if path in self._overlay else os.path.lexists(path)

    # -- act -------------------------------------------------------------------------------------------------------

    def write(self, path: str, text: str, mode: int | None = None, owner: Owner | None = None, secret: bool = False,
              shown: tuple[str, str] | None = None) -> bool:
        """Make the file hold this text. Owner and mode of a file that is there stay unless given; a new one is root's, 0644.

        `shown`: before and after for the reader, where the whole file is not for his eyes.
        """
        path = self._resolved(path)
        data = text.encode("utf-8", "surrogateescape")
        before, old = self._data(path), self._attributes(path)
        wanted = old or Attributes(0, 0, 0o644, 0, "")
        if mode is not None:
            wanted = wanted._replace(mode=mode)
        if owner is not None:
            wanted = wanted._replace(uid=owner.uid, gid=owner.gid)
        if before == data and wanted == old:
            return False
        told = shown or (before.decode("utf-8", "replace") if before is not None else "", data.decode("utf-8", "replace"))
        if not self.note(path, told[0], told[1], secret):
            self._would_be(path, data, wanted)
            return True
        temporary = disk.temporary_name()
        self._record({"kind": "file", "path": path, "old": old and list(old), "made": sha256(data).hexdigest(), "temporary": temporary,
                      "saved": self._journal().save_content(self.step, before) if before is not None else None})
        disk.write(path, data, wanted._replace(mtime_ns=0), temporary)
        return True

    def remove(self, path: str) -> bool:
        """Remove a regular file."""
        path = self._resolved(path)
        before = self._data(path)
        if before is None:
            return False
        if not self.note(path, before.decode("utf-8", "replace"), ""):
            self._would_be(path, None, None)
            return True
        self._record({"kind": "file", "path": path, "old": list(disk.attributes_of(path) or ()), "made": None,
                      "saved": self._journal().save_content(self.step, before)})
        disk.remove(path)
        return True

    def make_directory(self, path: str, mode: int = 0o755, owner: Owner | None = None) -> bool:
        path = self._resolved(path)
        if self.exists(path):
            return False
        if not self.note(path, "", "directory, mode %04o" % mode):
            self._would_be(path, DIRECTORY, Attributes(owner.uid if owner else 0, owner.gid if owner else 0, mode, 0, ""))
            return True
        self._record({"kind": "made_directory", "path": path})
        disk.make_directory(path, owner.uid if owner else 0, owner.gid if owner else 0, mode)
        return True

    def attributes(self, path: str, uid: int | None = None, gid: int | None = None, mode: int | None = None, quiet: bool = False) -> bool:
        """Owner and mode of one path; `quiet`: one of many, the caller notes them together."""
        old = self._attributes(path)
        if old is None:
            return False
        wanted = old._replace(uid=old.uid if uid is None else uid, gid=old.gid if gid is None else gid,
                              mode=old.mode if mode is None else mode)
        if wanted == old:
            return False
        if not quiet:
            self.note(path, _owner_and_mode(old), _owner_and_mode(wanted))
        if self.check_mode:
            self._overlay[_ATTRIBUTES + path] = wanted
        else:
            self._record({"kind": "attributes", "path": path, "old": list(old)})
            disk.dress(path, wanted)
        return True

    def replace_directory(self, path: str, new: str) -> None:
        """`new`, complete and on the same filesystem, takes the place of the directory `path`, which is kept under the name `new`."""
        if not self.note(path, "directory as before", "directory made new (%s)" % new):
            return
        self._record({"kind": "directory", "path": path, "kept": new, "inode": os.lstat(path).st_ino})
        disk.exchange(path, new)

    def command(self, argv: Sequence[str], what: str, seconds: float, owner: Owner | None = None,
                environment: dict[str, str] | None = None, cwd: str = "/", stdin: bytes = b"", quiet: bool = False) -> Acted | None:
        """Run a command that changes something; None in check mode. What it prints goes to the `log` of the step.

        `quiet`: noted by the caller. `environment` is added to a short one of tools; nothing of it is written down.
        """
        if quiet:
            if self.check_mode:
                return None
        elif not self.note(what, "", "$ " + " ".join(argv)[:1000]):
            return None
        self._record({"kind": "command", "what": what})
        self.say(what)
        done = act(argv, seconds, owner, environment, cwd, stdin, self.say)
        self.log(what, argv, done)
        return done

    def before(self, kind: str, what: str, **data: Any) -> bool:
        """Write down an act of the fix's own, which its `UNDO[kind]` can take back; False in check mode: do not act."""
        if not self.note(what, "", what):
            return False
        self._record(dict(data, kind=kind, what=what))
        return True

    # -- services --------------------------------------------------------------------------------------------------

    def restart(self, unit: str) -> None:
        """At the end of the run, once; a unit that is switched off stays so."""
        self._ask(self.asked.restart, unit, "restart")

    def reload(self, unit: str) -> None:
        self._ask(self.asked.reload, unit, "reload")

    def start(self, unit: str) -> None:
        self._ask(self.asked.start, unit, "start")

    def reload_units(self) -> None:
        """systemctl daemon-reload, before anything is started."""
        self.asked.reload_units = True

    def enable(self, unit: str) -> bool:
        was = units.enabled(self.host, unit)
        if was in ("enabled", "static", "alias", "indirect", "generated", "enabled-runtime"):
            return False
        if was == "masked":
            raise Refused("%s is masked, so somebody switched it off for good; systemctl unmask it if that is over" % unit)
        if self.note("unit " + unit, was, "enabled"):
            self._record({"kind": "enabled", "unit": unit, "was": was})
            units.enable(self.host, unit)
        return True

    def stop_during(self, names: Iterable[str]) -> None:
        """Stop these units now; they are started again at the end of the run, or when this step is undone."""
        for unit in names:
            if not units.is_active(self.host, unit):
                continue
            if self.note("unit " + unit, "running", "stopped for this step"):
                self._record({"kind": "stopped", "unit": unit})
                self.say("stopping %s" % unit)
                units.stop(self.host, self._role_of(unit), unit, self.say)
            self.stopped.append(unit)
            self._ask(self.asked.start, unit, "start again", quiet=True)

    # -- inside ----------------------------------------------------------------------------------------------------

    def note(self, what: str, before: str, after: str, secret: bool = False) -> bool:
        """Note a change for the result and --diff; True when it is to be carried out (not in check mode)."""
        if secret:
            before, after = (MASK if text else "" for text in (before, after))
        self.step["changes"].append({"what": self.clean(what)[:300], "before": self.clean(before)[:MAX_DIFF_CHARACTERS],
                                     "after": self.clean(after)[:MAX_DIFF_CHARACTERS]})
        return not self.check_mode

    def log(self, what: str, argv: Sequence[str], done: Acted) -> None:
        """Keep what a command printed beside the journal; a disk without room must not stop what makes room."""
        text = "== %s\n$ %s\n%s\n(exit %s)\n" % (what, " ".join(argv), done.output, done.rc)
        with contextlib.suppress(OSError):
            name = self._journal().step_folder(self.step) + "/log"
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8") as stream:
                stream.write(self.clean(text))

    def _ask(self, wishes: list[str], unit: str, what: str, quiet: bool = False) -> None:
        if unit not in wishes:
            wishes.append(unit)
            if not quiet:
                self.note("unit " + unit, "", what)

    def _role_of(self, name: str) -> str:
        return next((unit["role"] for unit in self.install.get("units", []) if unit["name"] == name), "")

    def _resolved(self, path: str) -> str:
        """Links resolved, unless only an earlier step of a check run would make the path."""
        return path if path in self._overlay else disk.resolved(path)

    def _data(self, path: str) -> bytes | None:
        if path in self._overlay:
            held = self._overlay[path]
            return held if isinstance(held, bytes) else None
        if disk.attributes_of(path) is None:
            return None
        return disk.read(path, MAX_FILE_BYTES)

    def _attributes(self, path: str) -> Attributes | None:
        if _ATTRIBUTES + path in self._overlay:
            held: Attributes | None = self._overlay[_ATTRIBUTES + path]
            return held
        return disk.attributes_of(path)

    def _would_be(self, path: str, content: object, attributes: Attributes | None) -> None:
        self._overlay[path], self._overlay[_ATTRIBUTES + path] = content, attributes

    def _journal(self) -> Journal:
        if self.journal is None:
            raise RuntimeError("nothing is recorded in check mode")
        return self.journal

    def _record(self, operation: dict[str, Any]) -> None:
        self._journal().record(self.step, operation)


def _owner_and_mode(attributes: Attributes) -> str:
    return "owner %d:%d, mode %04o" % (attributes.uid, attributes.gid, attributes.mode)
