# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of a unit by our drop-in, or the reason why that cannot work (private, may change any time).

systemd.exec(5): a file of EnvironmentFile= wins over Environment=, UnsetEnvironment= counts last of all, and what the command line sets
itself nobody else can change. Those lines are somebody's own words: they are named, not edited.
"""

from __future__ import annotations

import re
import shlex

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import drop_in
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change


def refuse_when_hopeless(change: Change, unit: dict[str, Any], topic: str, wanted: Mapping[str, str]) -> None:
    """Refused when Environment= of our drop-in would not decide. Values are not shown: they may be secrets."""
    name = unit["name"]
    for key, value in wanted.items():
        drop_in.refuse_when_outdone(change, name, topic, r"\s*(?:Unset)?Environment\s*=(?:.*[\s\"'])?%s\b" % re.escape(key), key)
        for path in re.findall(r"(/\S+) \(ignore_errors=\w+\)", shown(change, name, "EnvironmentFiles")):
            number = drop_in.line_with(change.text(path) or "", r"\s*%s\s*=(?!\s*[\"']?%s[\"']?\s*$)" % (re.escape(key), re.escape(value)))
            if number:
                raise Refused("%s line %d sets %s for %s and wins over Environment=: correct it there" % (path, number, key, name))
        if any(re.search(r"(?:^|\s)%s=(?!['\"]?%s(?:['\"\s]|$))" % (re.escape(key), re.escape(value)), word) for word in unit["_argv"]):
            raise Refused("ExecStart of %s sets %s itself: correct it there" % (name, key))


def lines(change: Change, unit: str, topic: str, wanted: Mapping[str, str], unwanted: Iterable[str] = ()) -> list[str]:
    """What our drop-in of this topic must say for these variables, the others in it kept."""
    names = {*wanted, *unwanted}
    before = drop_in.lines_of(change, unit, topic)
    kept = [line for line in before if name_of(line) not in names and not line.startswith("UnsetEnvironment=")]
    mine = [drop_in.environment(key, value) for key, value in wanted.items()]
    return _without_unset(change, unit, names, before) + kept + mine


def shown(change: Change, unit: str, name: str) -> str:
    """A property that may stand on several lines (EnvironmentFiles)."""
    done = change.host.run(["systemctl", "show", "--no-pager", "--property=" + name, "--", unit], 10.0)
    return "\n".join(line.partition("=")[2] for line in done.out.decode("utf-8", "replace").splitlines())


def configured(change: Change, unit: str) -> dict[str, str]:
    """Environment= of the unit as systemd has merged it."""
    return dict(pair.split("=", 1) for pair in shlex.split(shown(change, unit, "Environment")) if "=" in pair)


def files_with(change: Change, unit: str, key: str) -> list[str]:
    """`file line N` for where the unit sets a variable."""
    found = []
    for path in (shown(change, unit, "FragmentPath") + " " + shown(change, unit, "DropInPaths")).split():
        number = drop_in.line_with(change.text(path) or "", r"\s*Environment\s*=(?:.*[\s\"'])?%s=" % re.escape(key))
        found += ["%s line %d" % (path, number)] if number else []
    return found


def name_of(line: str) -> str:
    found = re.match(r"Environment=\"?([A-Za-z_]\w*)=", line)
    return found.group(1) if found else ""


def _without_unset(change: Change, unit: str, names: set[str], before: list[str]) -> list[str]:
    """Empty the list of UnsetEnvironment= and name again what else was in it; as before when none of these is in it."""
    words = shlex.split(shown(change, unit, "UnsetEnvironment"))
    kept = [word for word in words if word.split("=", 1)[0] not in names]
    if len(kept) == len(words):
        return [line for line in before if line.startswith("UnsetEnvironment=")]
    return ["UnsetEnvironment=", *("UnsetEnvironment=" + drop_in.quoted(word) for word in kept)]
