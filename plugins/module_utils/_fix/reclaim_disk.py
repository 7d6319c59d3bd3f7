# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make room on a filesystem that is full, and bring back what died of it.

Options: `days` (7) of cached media, `preview_days` (180), `enough_percent` (10), `journal_megabytes` (200), `prune_profiles`,
`remove_headers` (off). Only what the full filesystem holds is deleted, in this order, until there is room again: what needs no database,
then, with PostgreSQL and Redis back, what tootctl removes. The app's tmp/cache is left: it would be made anew at once. Nothing of it can be
taken back.
"""

from __future__ import annotations

import time

from typing import Any, Iterator

from ansible_collections.fediops.mastodon.plugins.module_utils._change import units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _prune, _redis_save, _tootctl
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._app import number_of, size
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._room import Action, Room, exhausted
from ansible_collections.fediops.mastodon.plugins.module_utils._fix.start_services import RUNNING
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import services
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.disk import media_places

STORES = ("database", "redis")
STORE_SECONDS = 120.0


def fix(change: Change) -> None:
    options = options_of(change)
    rooms = exhausted(change.host, change.install, options["enough_percent"])
    if not rooms:
        return
    change.cannot_undo("what was deleted stays deleted; Mastodon fetches cached media again when they are looked at")
    freed = {room.mount: _clear(change, room, _without_database(change, room, options)) for room in rooms}
    with_media = [room for room in rooms if _wants_media(change, room)]
    if with_media and _need_more(change, with_media, freed):
        problem = _stores_are_back(change, any(freed.values()))
        if problem and change.check_mode and any(freed.values()):
            change.note("cached remote media (tootctl)", "", "as far as still needed, once there is room for PostgreSQL and Redis")
        elif problem:
            change.say("tootctl cannot be used: %s" % problem)
        else:
            for room in with_media:
                freed[room.mount] += _clear(change, room, iter(_tootctl.actions(change, options)), freed[room.mount])
    if not change.step["changes"]:
        raise Refused(" ".join(_hopeless(change, room, options) for room in rooms))
    _afterwards(change)


def check(change: Change) -> str:
    rooms = exhausted(change.host, change.install, 10)
    return " ".join("%s is still full. %s" % (room.mount, _biggest(change, room)) for room in rooms)


def options_of(change: Change) -> dict[str, Any]:
    return {"days": number_of(change, "days", 7, 1, 3650), "preview_days": number_of(change, "preview_days", 180, 1, 3650),
            "enough_percent": number_of(change, "enough_percent", 10, 1, 50),
            "journal_megabytes": number_of(change, "journal_megabytes", 200, 16, 100000),
            "prune_profiles": _yes(change, "prune_profiles"), "remove_headers": _yes(change, "remove_headers"),
            "media": True, "preview_cards": True}


def _yes(change: Change, name: str) -> bool:
    return str(change.options.get(name) or "").lower() in ("true", "yes", "1")


def _without_database(change: Change, room: Room, options: dict[str, Any]) -> Iterator[Action]:
    """Looked for one after the other: what comes later is not even searched for when there is room already."""
    keep = max(_prune.LEAST_JOURNAL_BYTES, min(options["journal_megabytes"] << 20, room.size // 20))
    for found in ([_prune.journal(change, room.has, keep)], _prune.packages(change, room.has), [_prune.rotated_logs(change, room.has)],
                  _prune.releases(change, room.has)):
        yield from (each for each in found if each is not None)


def _clear(change: Change, room: Room, found: Iterator[Action], already: int = 0) -> int:
    """Act until there is room; about how much was freed (bytes, or inodes where only these lack)."""
    freed_bytes = freed_inodes = 0
    lacks_bytes, lacks_inodes = room.lacks()
    by_inodes = not lacks_bytes
    for action in found:
        if change.check_mode:
            left = (lacks_bytes - freed_bytes - already, lacks_inodes - freed_inodes - already)
            if left[1 if by_inodes else 0] <= 0:
                break
        elif not any(room.lacks()):
            break
        action.act()
        freed_bytes, freed_inodes = freed_bytes + action.bytes, freed_inodes + action.inodes
    return freed_inodes if by_inodes else freed_bytes


def _wants_media(change: Change, room: Room) -> bool:
    install = change.install
    return bool(install.get("found")) and install.get("storage") == "local" and any(room.has(path) for path in media_places(install))


def _need_more(change: Change, rooms: list[Room], freed: dict[str, int]) -> bool:
    """In check mode nothing was freed yet, so the estimates are believed."""
    if change.check_mode:
        return any(freed[room.mount] < (room.lacks()[0] or room.lacks()[1]) for room in rooms)
    return any(any(room.lacks()) for room in rooms)


def _stores_are_back(change: Change, made_room: bool) -> str:
    """Start PostgreSQL and Redis where they died, and let Redis save; why tootctl cannot work, or empty."""
    if made_room and not change.check_mode:
        _start_stores(change)
        if "compose" not in change.install:  # of a container only its network knows the name; Redis tries again by itself
            _let_redis_save(change)
    return _tootctl.why_not(change)


def _start_stores(change: Change) -> None:
    for unit in change.units(*STORES):
        if unit["intended"] and not units.is_active(change.host, unit["name"]):
            change.before("started", "unit " + unit["name"])
            change.say("starting %s" % unit["name"])
            try:
                units.start(change.host, unit["name"])
            except HostError as problem:
                change.say(str(problem))
    end = time.monotonic() + STORE_SECONDS  # PostgreSQL replays its WAL first
    while time.monotonic() < end and _tootctl.why_not(change) == "PostgreSQL does not answer" and change.units("database"):
        time.sleep(1)


def _afterwards(change: Change) -> None:
    """What was meant to run and does not is started; Redis takes writes again."""
    now = change.install.get("units", []) if change.check_mode else services.discover(Host(time.monotonic() + 60.0))
    ours = {unit["name"] for unit in change.units()}
    stopped = [unit for unit in now if unit["name"] in ours and unit["intended"] and unit["active_state"] not in RUNNING]
    for unit in stopped:
        change.start(unit["name"])
    if any(unit["role"] == "redis" for unit in stopped):
        return  # what is only started now has loaded its snapshot and refuses nothing
    _let_redis_save(change)


def _let_redis_save(change: Change) -> None:
    for target in _redis_save.unsaved(change):
        problem = _redis_save.save(change, target)
        if problem:
            change.say(problem)


def _hopeless(change: Change, room: Room, options: dict[str, Any]) -> str:
    reasons = ["%s is full and holds nothing that may be deleted." % room.mount]
    if _wants_media(change, room):
        problem = _tootctl.why_not(change)
        reasons.append("tootctl cannot be used: %s." % problem if problem else
                       "tootctl finds no cached media older than %d days." % options["days"])
    reasons.append(_biggest(change, room))
    if "database" in room.holds:
        reasons.append("Enlarge it; never delete files of PostgreSQL.")
    else:
        reasons.append("Look at these, delete what is not needed, or enlarge the filesystem.")
    return " ".join(reasons)


def _biggest(change: Change, room: Room) -> str:
    found = ["%s %s" % (path, size(number)) for path, number in room.biggest(change.install)]
    return "Most of it: %s." % ", ".join(found) if found else "Nothing big was found on it."
