# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fix_media_permissions where docker compose runs Mastodon: the volume as this host has it, and the app's user by his number.

Docker makes a directory that a compose file names and that is not there, and it makes it root's: the usual way to come to this fault
(https://docs.joinmastodon.org/admin/install/ knows no containers; the compose file of mastodon/mastodon mounts ./public/system).
"""

from __future__ import annotations

import os

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import composition

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change


def told(change: Change) -> str:
    """Where the volume with media lies on this host, as the engine or the compose file tells it."""
    unit = _app(change)
    inside = composition.media_path(unit, change.install)
    mount, source = composition.mount_of(unit, inside), composition.source_of(unit, inside)
    if mount is None or not source:
        raise Refused("media lie in the container itself, and are gone when it is made anew: mount a volume at %s" % inside)
    if not mount["writable"]:
        raise Refused("the compose file mounts %s read-only; take that away there, then docker compose up -d" % inside)
    below = source[len(mount["source"]):]
    if os.path.realpath(source) != os.path.realpath(mount["source"]) + below:
        raise Refused("%s is reached by a link inside of the volume %s, which a container may have made; chown by hand what it leads to" % (
            source, mount["source"]))
    return source


def failing(change: Change, top: str) -> list[str]:
    """The paths that the facts tell, which are those of the container, as this host has them."""
    inside = str(change.install["media_root"])
    paths = [str(each) for each in (change.facts.get("media") or {}).get("unwritable") or []]
    return [top + path[len(inside):] for path in paths if path == inside or path.startswith(inside + "/")]


def _app(change: Change) -> dict[str, Any]:
    unit = next((each for each in change.units("web", "sidekiq") if each.get("_mounts") is not None), None)
    if unit is None:
        raise Refused("no container of web or Sidekiq is there, whose volumes could be looked at")
    return unit
