# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the host as much swap as a build of the assets, and processes killed for lack of memory, need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app, _build_needs, _packs, _swapfile
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

UNDO = {"swap": _swapfile.take_back}
TABLE = "/etc/fstab"
STEP_BYTES = 64 << 20
MOST_BYTES = 4 << 30
HEADER_BYTES = 1 << 20  # a swap file holds a little less than its size, and that is no reason for another
LARGEST_OPTION = 64 << 30


def fix(change: Change) -> None:
    """Option size_bytes: swap that the host is to have in all; without it `enough` decides."""
    memory = change.facts.get("memory")
    if not memory:
        raise Refused("how much memory this host has is not known, so no swap can be added")
    asked = _app.number_of(change, "size_bytes", 0, STEP_BYTES, LARGEST_OPTION) if change.options.get("size_bytes") else 0
    missing = asked - memory["swap_bytes"] if asked else enough(memory, _packs.bundler_of(change.install))
    if missing < HEADER_BYTES:
        return
    refuse_containers(change)
    size = -(-missing // STEP_BYTES) * STEP_BYTES
    path, kind = _swapfile.place(change, size)
    if change.text(TABLE) is None:
        raise Refused("there is no %s, so the swap file would be gone with the next boot" % TABLE)
    _swapfile.make(change, path, kind, size)
    change.write(TABLE, _swapfile.with_line(change.text(TABLE) or "", path))
    change.reload_units()


def enough(memory: dict[str, Any], bundler: str) -> int:
    """How many bytes of swap are missing.

    Twice the RAM up to 2 GiB of it, as much as RAM up to 8 GiB, 4 GiB above (recommended by the storage guide of Red Hat Enterprise Linux),
    but never more than 4 GiB: who swaps more than that is not served by swap. And at least as much as a build needs beyond what is free.
    """
    ram = memory["ram_bytes"]
    recommended = min(MOST_BYTES, 2 * ram if ram <= 2 << 30 else ram)
    for_a_build = _build_needs.MEMORY_BYTES[bundler] - memory["available_bytes"] - memory["swap_free_bytes"]
    return int(max(recommended - memory["swap_bytes"], for_a_build))


def refuse_containers(change: Change) -> None:
    kind = container(change)
    if kind:
        raise Refused("this host is a container (%s), whose swap is that of the machine it runs on: add swap there" % kind)


def container(change: Change) -> str:
    try:
        done = change.host.run(["systemd-detect-virt", "--container"], 10.0, 4096)
    except HostError:
        return ""
    return done.out.decode("ascii", "replace").strip()[:40] if done.rc == 0 else ""


def check(change: Change) -> str:
    """Whether the kernel swaps to it."""
    used = _swapfile.in_use(change.host.text("/proc/swaps"))
    return "" if any(_swapfile.NAME in path for path in used) else "the kernel does not swap to the new file"
