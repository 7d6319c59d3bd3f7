# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop-ins of systemd units: our own file beside the administrator's, one a topic, never theirs edited (private, may change any time).

systemd reads drop-ins in the order of their names and the last setting wins; `systemctl edit` writes override.conf. Ours cure what was
proven to be wrong, perhaps just there, so their name sorts behind it.

Quoting by systemd.syntax(7) and systemd.service(5): `%` begins a specifier everywhere, `$` a variable in command lines only.
"""

from __future__ import annotations

import re

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._change import units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

FOLDER = "/etc/systemd/system"
HEADER = "# Written by fediops.mastodon (%s). Its rollback takes it away; a file that sorts behind it wins.\n"
_UNIT = re.compile(r"^[\w:.\\@-]+\.service$", re.ASCII)


def path_of(unit: str, topic: str) -> str:
    if not _UNIT.match(unit):
        raise Refused("%r is no name of a unit" % unit[:80])
    return "%s/%s.d/zz-fediops-%s.conf" % (FOLDER, unit, topic)


def lines_of(change: Change, unit: str, topic: str) -> list[str]:
    """What our drop-in of this topic says already, without header and section; also as an earlier step would leave it."""
    text = change.text(path_of(unit, topic)) or ""
    return [line for line in text.splitlines() if line and not line.startswith(("#", "["))]


def write(change: Change, unit: str, topic: str, lines: Iterable[str]) -> bool:
    """Make our drop-in of this topic say this in [Service], and have systemd read it; False when it says so already."""
    path = path_of(unit, topic)
    text = HEADER % topic + "[Service]\n" + "".join(line + "\n" for line in lines)
    if change.text(path) == text:
        return False
    change.make_directory(path.rsplit("/", 1)[0])
    change.write(path, text)
    change.reload_units()
    return True


def remove(change: Change, unit: str, topic: str) -> bool:
    if not change.remove(path_of(unit, topic)):
        return False
    change.reload_units()
    return True


def quoted(word: str) -> str:
    """One word of a setting, as it is: a space, a quote or a percent sign in it means itself."""
    if not word.isprintable():
        raise Refused("a line break or control character cannot be written into a unit: %r" % word[:80])
    word = word.replace("%", "%%")
    if re.match(r"^[\w./:@=,+%-]+$", word, re.ASCII):
        return word
    return '"%s"' % word.replace("\\", "\\\\").replace('"', '\\"')


def environment(key: str, value: str) -> str:
    """`Environment=` for one variable."""
    return "Environment=" + quoted("%s=%s" % (key, value))


def refuse_when_outdone(change: Change, unit: str, topic: str, setting: str, name: str) -> None:
    """Refused, with the line, when a drop-in that is read after ours sets `name` too (`setting`: a regular expression for its lines)."""
    ours = path_of(unit, topic)
    for path in units.properties(change.host, unit, "DropInPaths").get("DropInPaths", "").split():
        if path.rsplit("/", 1)[-1] <= ours.rsplit("/", 1)[-1]:
            continue
        number = line_with(change.text(path) or "", setting)
        if number:
            raise Refused("%s line %d sets %s for %s and is read after what could be added: correct it there" % (path, number, name, unit))


def line_with(text: str, setting: str) -> int:
    """Number (from 1) of the last line that matches, 0: none."""
    return max((number for number, line in enumerate(text.splitlines(), 1) if re.match(setting, line)), default=0)
