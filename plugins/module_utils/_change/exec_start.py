# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of a Sidekiq unit with other threads or queues, every other word kept as it is written (private, may change any time).

What systemctl shows of ExecStart= has lost its quotes and specifiers, so the text is taken from the files of the unit. One drop-in holds
the command for all fixes: a second one would undo the first.
"""

from __future__ import annotations

import re
import shlex

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import drop_in, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.install import _option, _queues

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

TOPIC = "sidekiq"
_NAME = re.compile(r"(?:^|[\s/'\"])sidekiq(?=\s|$)")
_THREADS = re.compile(r"(\s(?:-c\s*|--concurrency[=\s]\s*))(?:\$\{?\w+\}?|\d+)(?=[\s'\"]|$)")


def files_of(change: Change, unit: str) -> list[str]:
    """The files that make up a unit, in the order in which systemd reads them, ours included though it was not loaded yet."""
    shown = units.properties(change.host, unit, "FragmentPath", "DropInPaths")
    ours = drop_in.path_of(unit, TOPIC)
    others = [path for path in shown.get("DropInPaths", "").split() if path != ours]
    behind = [path for path in others if path.rsplit("/", 1)[-1] > ours.rsplit("/", 1)[-1]]
    return [path for path in (shown.get("FragmentPath", ""), *[path for path in others if path not in behind], ours, *behind) if path]


def command_of(change: Change, unit: str) -> str:
    """The text behind ExecStart= that counts."""
    return last_command("".join("%s\n" % change.text(path) for path in files_of(change, unit) if change.exists(path)))


def last_command(text: str) -> str:
    """The command that the files of a unit, one after the other, leave: an empty ExecStart= takes back what stood before."""
    commands: list[str] = []
    for value in settings(text, "ExecStart"):
        commands = [*commands, value] if value else []
    if len(commands) != 1 or not _NAME.search(commands[0]):
        raise Refused("the unit of Sidekiq has not one ExecStart= that names sidekiq; change it by hand")
    return commands[0]


def settings(text: str, name: str) -> list[str]:
    """Values of a setting in [Service], as they are written, continued lines joined."""
    section, found = "", []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        key, equals, value = line.partition("=")
        if equals and section == "[Service]" and key.strip() == name:
            found.append(value.strip())
    return found


def with_threads(command: str, number: int) -> str:
    """The command with `-c number`; Refused when that would not be what Sidekiq reads."""
    name = _NAME.search(command)
    at = name.end() if name else 0
    changed, count = _THREADS.subn(lambda match: match.group(1) + str(number), command[at:])
    # A shell line ends with its quote: what is put behind it would be an argument of the shell.
    result = command[:at] + (changed if count else changed + " -c %d" % number)
    if _option(_inner(result), {}, "-c", "--concurrency") != number:
        raise Refused("where the number of threads is written in this command is not clear; change it by hand: %s" % command[:200])
    return result


def queues(command: str) -> list[str]:
    """Queues that the command names; none: those of config/sidekiq.yml."""
    return _queues(_inner(command))


def with_queues(command: str, names: Iterable[str]) -> str:
    """The command with `-q` for these queues too."""
    names = list(names)
    before = queues(command)
    result = command + "".join(" -q %s" % name for name in names)
    if queues(result) != before + names:
        raise Refused("where the queues are written in this command is not clear; change it by hand: %s" % command[:200])
    return result


def without_queue(command: str, name: str) -> str:
    before = queues(command)
    result = re.sub(r"\s(?:-q\s+|--queue[=\s]\s*)%s(?:,\d+)?(?=[\s'\"]|$)" % re.escape(name), "", command)
    if queues(result) != [each for each in before if each != name] or not queues(result):
        raise Refused("the queue %s cannot be taken out of this command; change it by hand: %s" % (name, command[:200]))
    return result


def write(change: Change, unit: dict[str, Any], command: str, pool: int | None = None) -> None:
    """Make this the command of the unit, with DB_POOL when given, and have it restarted."""
    name = unit["name"]
    drop_in.refuse_when_outdone(change, name, TOPIC, r"\s*ExecStart\s*=", "ExecStart")
    before = drop_in.lines_of(change, name, TOPIC)
    lines = ["ExecStart=", "ExecStart=" + command]
    lines += ["Environment=DB_POOL=%d" % pool] if pool is not None else [line for line in before if line.startswith("Environment=DB_POOL=")]
    if drop_in.write(change, name, TOPIC, lines):
        change.restart(name)


def _inner(command: str) -> list[str]:
    """Words behind the name of sidekiq, also inside of a shell line; none when a word behind it belongs to the shell."""
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    lines = [word for word in words if re.search(r"\ssidekiq(\s|$)", word)]
    if lines:
        words = lines[0].split() if words[-1] == lines[0] else []
    names = [at for at, word in enumerate(words) if word.rsplit("/", 1)[-1] == "sidekiq"]
    return words[names[0]:] if names else []
