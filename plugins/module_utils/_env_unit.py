# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mastodon_env for the variables of a unit (private, may change any time)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._change import drop_in, unit_environment
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._env_file import Wish

TOPIC = "env"


def apply(change: Change, name: str, wish: Wish, needs_restart: list[str]) -> None:
    if wish.hidden:
        raise Refused("everybody on the host may read the environment of a unit (systemctl show): put %s into .env.production" % (
            ", ".join(sorted(wish.hidden))))
    name = name if name.endswith(".service") else name + ".service"
    unit = next((each for each in change.units("web", "sidekiq", "streaming") if each["name"] == name), None)
    if unit is None:
        raise Refused("%s is no unit of Mastodon on this host; there are %s" % (
            name[:80], ", ".join(each["name"] for each in change.units("web", "sidekiq", "streaming")) or "none"))
    # What the unit says by itself already needs no drop-in.
    own = dict(unit_environment.configured(change, name))
    wanted = {key: value for key, value in wish.wanted.items() if own.get(key) != value}
    ours = drop_in.lines_of(change, name, TOPIC)
    mine = {key for key in wish.unwanted if any(unit_environment.name_of(line) == key for line in ours)}
    for key in wish.unwanted:
        if key in own and key not in mine:
            raise Refused("%s is set for %s by its own files: %s; remove it there" % (
                key, name, ", ".join(unit_environment.files_with(change, name, key)) or "EnvironmentFile="))
    unit_environment.refuse_when_hopeless(change, unit, TOPIC, wanted)
    if not wanted and not mine:
        return
    lines = unit_environment.lines(change, name, TOPIC, wanted, mine)
    if not (drop_in.write(change, name, TOPIC, lines) if lines else drop_in.remove(change, name, TOPIC)):
        return
    if "pid" in unit and wish.restart:
        change.restart(name)
    elif "pid" in unit:
        needs_restart.append(name)
