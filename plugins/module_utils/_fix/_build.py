# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One command of the app in a unit of its own: new assets are built where the served ones are not (private, may change any time).

Bundlers empty `public/packs` before they fill it. In the unit's mount namespace another directory lies there, so that visitors keep what
they have until all is built, whatever becomes of the build. The unit ends at its deadline, and is the first to go when memory runs out.
"""

from __future__ import annotations

import os
import re
import time

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._workshop import ENVIRONMENTS
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._fix._workshop import Workshop

OOM_SCORE = 900
_KILLED = re.compile(r"heap out of memory|process out of memory|Cannot allocate memory|\bENOMEM\b|Out of memory", re.IGNORECASE)
_KERNEL = re.compile(r"(?:Out of memory|Memory cgroup out of memory): Killed process \d+ "
                     r"\((?:node|ruby|bundle|rails|yarn|npm|esbuild|MainThread|vite)[^)]*\)")


class Built(NamedTuple):
    """worked; otherwise why not, in a part of a sentence; all that was printed (its newest part)."""

    worked: bool
    why: str
    output: str
    memory: bool = False


def run(workshop: Workshop, words: Sequence[str], what: str, seconds: int, environment: dict[str, str],
        binds: Sequence[tuple[str, str]]) -> Built:
    """Run it as the app's user in the checkout, with these directories mounted over those (source, place)."""
    change = workshop.change
    started = time.time()
    _keep(workshop.environment, environment)
    try:
        done = change.command(argv(workshop, words, seconds, binds), what, seconds + 30.0, quiet=True)
    finally:
        # Also when this process is told to end: the unit would go on without it.
        act(["systemctl", "stop", workshop.unit], 60.0)
        os.unlink(workshop.environment)
    if done is None:
        return Built(True, "", "")
    if done.rc == 0:
        return Built(True, "", done.output)
    told = re.findall(r"(?m)^\s*Finished with result: (\S+)", done.output)
    result = told[-1] if told else ""
    printed = _printed(done.output)
    why = reason(printed, result, done.rc, _kernel_line(workshop, started), seconds)
    return Built(False, why[0], printed, why[1])


def argv(workshop: Workshop, words: Sequence[str], seconds: int, binds: Sequence[tuple[str, str]]) -> list[str]:
    settings = ["User=%d" % workshop.owner.uid if workshop.owner.user.isdigit() else "User=" + workshop.owner.user,
                "Group=%d" % workshop.owner.gid, "WorkingDirectory=" + workshop.root, "EnvironmentFile=" + workshop.environment,
                "RuntimeMaxSec=%d" % seconds, "TimeoutStopSec=10", "OOMScoreAdjust=%d" % OOM_SCORE, "Nice=5", "UMask=0022",
                "NoNewPrivileges=yes", *("BindPaths=%s:%s" % each for each in binds)]
    return ["systemd-run", "--wait", "--pipe", "--collect", "--unit=" + workshop.unit, "--description=fediops.mastodon: assets",
            *(word for each in settings for word in ("-p", each)), *words]


def reason(printed: str, result: str, rc: int | None, kernel_line: str, seconds: int) -> tuple[str, bool]:
    """(why a command failed, whether for lack of memory), from what it printed and what systemd and the kernel say of it."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    said = _KILLED.search(printed)
    killed = any(re.search(r"^Killed$|exit(?:ed with| code:?| status:?) 137\b|\bSIGKILL\b", line) for line in lines[-20:])
    if rc is None or result == "timeout":
        return "it was not done within %d s and was ended" % seconds, False
    if kernel_line:
        return "the kernel killed it for lack of memory (%s)" % kernel_line, True
    if result == "oom-kill":
        return "the kernel killed it for lack of memory, says systemd", True
    if said:
        line = next(line for line in lines if _KILLED.search(line))
        return "it ran out of memory (%s)" % line[:200], True
    if killed or result == "signal":
        return "it was killed, which nobody but the kernel does when memory is short", True
    if lines and re.match(r"Compilation failed:\s*$", lines[-1]):
        return "the bundler failed without a word, as it does when memory is short", True
    return "it said: %s" % (_telling(lines) if lines else "nothing"), False


def _telling(lines: list[str]) -> str:
    """The line that says most: the first that names an error, else the last."""
    telling = re.compile(r"\b(?:\w*Error|error|Cannot find|Unexpected|not found|denied|ENOSPC)\b")
    for line in lines:
        if telling.search(line) and not line.startswith(("at ", "warning")):
            return line[:300]
    return lines[-1][:300]


def _printed(output: str) -> str:
    """Without what systemd-run says of its own."""
    own = re.compile(r"^(?:Running as unit: |Finished with result: |Main processes terminated with: |Service runtime: |CPU time consumed: |"
                     r"Memory (?:peak|swap peak): |IO bytes |IP traffic |Press \^\])")
    return "\n".join(line for line in output.splitlines() if not own.match(line.strip()))


def _kernel_line(workshop: Workshop, since_epoch: float) -> str:
    """What the kernel logged meanwhile about killing a process of a build, if it may be seen here."""
    try:
        done = workshop.change.host.run(["journalctl", "-k", "-q", "-o", "cat", "--no-pager", "--since=@%d" % since_epoch], 10.0, 1 << 20)
    except HostError:
        return ""
    found = _KERNEL.findall(done.out.decode("utf-8", "replace"))
    return found[-1] if found else ""


def _keep(path: str, environment: dict[str, str]) -> None:
    """Secrets reach the unit by a file that only root can read: what is given by D-Bus can be shown by everybody."""
    if not os.path.isdir(ENVIRONMENTS):
        os.mkdir(ENVIRONMENTS, 0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
        for key, value in sorted(environment.items()):
            stream.write('%s="%s"\n' % (key, re.sub(r'([\\"$`])', r"\\\1", value)))
