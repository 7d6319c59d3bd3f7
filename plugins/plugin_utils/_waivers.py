# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waivers: findings somebody decided to live with, until a day. Private to this collection."""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import pathlib
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _own_files
from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line


class WaiverError(Mistake):
    """One sentence: which waiver, what is wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Waiver:
    id: str
    reason: str
    until: str  # the last day on which it holds, UTC
    host: str

    def expired(self, now: float) -> bool:
        end = datetime.datetime.fromisoformat(self.until).replace(tzinfo=datetime.timezone.utc) + datetime.timedelta(days=1)
        return now >= end.timestamp()


def read_waivers(data: t.Any, known: t.Container[str], directories: t.Iterable[str] = ()) -> tuple[Waiver, ...]:
    """Waivers from what a user wrote in mastodon_waivers, and in the files of mastodon_waivers_dirs."""
    waivers = _all(data, "mastodon_waivers", known)
    for directory in directories:
        for path in _own_files.files_in(pathlib.Path(directory).expanduser().absolute(), "waiver"):
            waivers += _all(_own_files.read(path, "waiver", _content), f"waiver {path}, ", known)
    return tuple(waivers)


def _content(data: t.Any) -> t.Any:
    """A file is such a list, or has it as its only key: what was written as variables can be put there as it is. An empty one has none."""
    if data is None:
        return []
    return data["mastodon_waivers"] if isinstance(data, dict) and list(data) == ["mastodon_waivers"] else data


def _all(data: t.Any, where: str, known: t.Container[str]) -> list[Waiver]:
    if not isinstance(data, list):
        raise WaiverError(f"{where.rstrip(', ')} must be a list of {{id, reason, until}}")
    return [_read(entry, f"{where}[{number}]", known) for number, entry in enumerate(data)]


def _read(entry: t.Any, where: str, known: t.Container[str]) -> Waiver:
    if not isinstance(entry, dict):
        raise WaiverError(f"{where} must be a mapping of id, reason, until and, if you like, host")
    for key in entry:
        if key not in ("id", "reason", "until", "host"):
            raise WaiverError(f'{where}: "{clean_line(key, 80)}" is not a known key; allowed are id, reason, until, host')
    for key in ("id", "reason", "until"):
        if not str(entry.get(key) or "").strip():
            raise WaiverError(f"{where}: {key} is missing")
    if not isinstance(entry["id"], str) or entry["id"] not in known:
        raise WaiverError(f'{where}: "{clean_line(entry["id"], 80)}" is not the id of a known issue')
    until = str(entry["until"])  # unquoted, YAML made a date of it
    try:
        if len(until) != 10:
            raise ValueError
        datetime.date.fromisoformat(until)
    except ValueError:
        raise WaiverError(f'{where}: until "{clean_line(until, 80)}" is not a day such as 2026-12-31') from None
    host = entry.get("host", "*")
    if not isinstance(host, str) or not host:
        raise WaiverError(f'{where}: host must be a name or a pattern such as "web*"')
    return Waiver(id=str(entry["id"]), reason=clean_line(entry["reason"]), until=until, host=host)


def waiver_for(waivers: t.Iterable[Waiver], issue: str, host: str, now: float) -> tuple[Waiver | None, Waiver | None]:
    """(the waiver that holds, the one that has expired) for a known issue on a host."""
    expired = None
    for waiver in waivers:
        if waiver.id == issue and fnmatch.fnmatchcase(host, waiver.host):
            if not waiver.expired(now):
                return waiver, None
            expired = waiver
    return None, expired
