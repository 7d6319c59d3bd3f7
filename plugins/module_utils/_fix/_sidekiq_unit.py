# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Sidekiq unit of our own, made from one that is there: its user, sandbox and environment, other queues (private)."""

from __future__ import annotations

import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import drop_in, exec_start, units
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

NAME = "mastodon-sidekiq-fediops.service"
THREADS = 5
UNDO_SECONDS = 600.0
MADE = "sidekiq_unit"


def write(change: Change, model: dict[str, Any], queues: list[str]) -> None:
    """Make the unit, or give it these queues too, and have it run."""
    path = drop_in.FOLDER + "/" + NAME
    before = change.text(path)
    if before is not None:
        command = exec_start.last_command(before)
        wanted = exec_start.with_queues(command, [name for name in queues if name not in exec_start.queues(command)])
        text = before.replace("ExecStart=" + command, "ExecStart=" + wanted)
    else:
        text = _made_from(change, model, queues)
    if change.write(path, text):
        change.reload_units()
    if before is None:
        change.before(MADE, "unit " + NAME, unit=NAME)
    change.enable(NAME)
    if before is None:
        change.start(NAME)
    else:
        change.restart(NAME)


def _made_from(change: Change, model: dict[str, Any], queues: list[str]) -> str:
    """The files of the model, drop-ins too, one after the other (a section may stand twice), then what differs."""
    parts = []
    for path in exec_start.files_of(change, model["name"]):
        text = change.text(path)
        if text:
            parts.append("# from %s\n%s\n" % (path, text.rstrip("\n")))
    text = _without_names(_of_instance("".join(parts), model["name"]))
    command = exec_start.last_command(text)
    for name in exec_start.queues(command):
        command = exec_start.without_queue(command, name) if len(exec_start.queues(command)) > 1 else command
    rest = exec_start.queues(command)
    if rest and rest[0] not in queues:
        command = exec_start.with_queues(command, queues)
        command = exec_start.without_queue(command, rest[0])
    else:
        command = exec_start.with_queues(command, [name for name in queues if name not in rest])
    command = exec_start.with_threads(command, THREADS)
    return "# Written by fediops.mastodon (cover_queues); its rollback takes it away.\n" + text + "\n".join([
        "[Unit]", "Description=Sidekiq of Mastodon for queues that no other process takes", "[Service]", "ExecStart=",
        "ExecStart=" + command, "Environment=DB_POOL=%d" % THREADS, ""])


def _without_names(text: str) -> str:
    """Without what would make it another unit's namesake or companion."""
    return re.sub(r"(?m)^\s*(?:Alias|Also|DefaultInstance|PIDFile)\s*=.*\n", "", text)


def _of_instance(text: str, name: str) -> str:
    """%i and its like as they are for this instance of a template."""
    stem = name[:-len(".service")]
    prefix, _at, instance = stem.partition("@")
    for letter, value in (("i", instance), ("I", instance.replace("-", "/")), ("p", prefix), ("n", name), ("N", stem)):
        text = re.sub(r"(?<!%%)%%%s" % letter, value.replace("\\", "\\\\"), text)
    return text


def _unmake(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """Stop it before its file is taken away, drained as ever."""
    host = Host(time.monotonic() + UNDO_SECONDS)
    try:
        units.stop(host, "sidekiq", operation["unit"], say)
    except HostError:
        if units.is_active(host, operation["unit"]):
            raise


UNDO: dict[str, Callable[[dict[str, Any], Callable[[str], None]], None]] = {MADE: _unmake}
