# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the containers of a compose project wrote since a point in time, whatever driver keeps it, asked of the engine (for subset logs).

The engine reads json-file, local and journald itself, and keeps a copy for most others; for `none` it says that there is nothing to read.
A container that was made anew has lost what its predecessor wrote, unless the driver is journald.
"""

from __future__ import annotations

import re
import time

from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.fediops.mastodon.plugins.module_utils import _engine
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import PARSERS
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.compose import epoch_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
    from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import ByteStream
    from ansible_collections.fediops.mastodon.plugins.module_utils._tally import Tally

# The newest lines are asked for and read from the older end, as of the journal: the limit of bytes must be out of reach.
LINES = 64000
BYTES = 32 << 20
LINES_A_SECOND = 15000
_KERNEL = re.compile(r"^<\d+>\[ *(\d+\.\d+)\] (.*)$")


def read(host: Host, install: Mapping[str, Any], tally: Tally, source_of: Callable[[str, str, str], dict[str, Any]], since: float,
         deadline: float) -> set[str]:
    """Origins that could be read; `source_of(origin, name, kind)` gives the record of a source."""
    units = [unit for unit in install["units"] if unit.get("manager") == "compose" and unit["role"] in PARSERS]
    engine = _engine.at(host, install["_engine"])
    origins = set()
    for at, unit in enumerate(units):
        source = source_of(unit["role"], unit["name"], "container")
        left = max(0.2, (deadline - time.monotonic()) / (len(units) - at))
        wanted = max(2000, min(LINES, int(left * LINES_A_SECOND)))
        stream = engine.logs(unit["_container"], since, wanted, unit["_tty"], time.monotonic() + left, BYTES)
        lines = 0
        for when, message in timed(stream):
            lines += 1
            if lines == 1:
                source["oldest_epoch"] = when
            source["lines"] += 1
            source["bytes"] += len(message)
            if when >= since:
                tally.add(unit["role"], unit["name"], when, message)
        if lines >= wanted:
            source.update(truncated=True, reason="only the newest %d lines were read" % lines)
        elif stream.truncated:
            source.update(truncated=True, reason=stream.reason[:200])
        if not source["truncated"]:
            source.pop("oldest_epoch", None)
        if lines or not stream.truncated:
            origins.add(str(unit["role"]))
    return origins


def kernel(host: Host, tally: Tally, source_of: Callable[[str, str, str], dict[str, Any]], since: float) -> bool:
    """The kernel's own buffer, for a host without a journal; whether it could be read."""
    done = host.run(["dmesg", "-r"], 5.0)
    if done.rc != 0:
        return False
    source = source_of("kernel", "dmesg", "kernel")
    booted = time.time() - time.monotonic()
    for line in done.out.decode("utf-8", "replace").splitlines():
        found = _KERNEL.match(line)
        if found and booted + float(found.group(1)) >= since:
            source["lines"] += 1
            source["bytes"] += len(line)
            tally.add("kernel", "kernel", booted + float(found.group(1)), found.group(2).encode("utf-8", "replace"))
    return True


def timed(stream: ByteStream) -> Iterator[tuple[float, bytes]]:
    """(epoch, line) of what the engine sends with a time before each line; what has none belongs to the line before."""
    rest = b""
    current = 0.0
    known: dict[bytes, float] = {}
    for chunk in stream:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()[-(1 << 20):]
        for line in lines:
            stamp, space, text = line.partition(b" ")
            second = known.get(stamp[:19])
            if second is None and space and 20 <= len(stamp) <= 35:
                second = epoch_of(stamp[:19].decode("ascii", "replace") + "Z")
                if len(known) > 4096:
                    known.clear()
                if second:
                    known[stamp[:19]] = second
            if second:
                fraction = stamp[19:29].rstrip(b"Z")
                current = second + (float(fraction) if re.match(rb"^\.\d+$", fraction) else 0.0)
            else:
                text = line
            yield current, text.rstrip(b"\r")
