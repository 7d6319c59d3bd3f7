# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that act: a process group of their own, killed whole at the deadline (private, may change any time).

Commands that only look go through `_host.py`. An argument list, never a shell line; one stream for what is printed, of which the newest
part is kept, because that is where a failure is explained.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._host import TOOL_ENVIRONMENT, HostError, Owner, drop_to

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEPT_BYTES = 256 << 10


class Acted(NamedTuple):
    """What became of a command: rc (None: killed at its deadline; negative: that signal), the newest part of its output."""

    rc: int | None
    output: str

    @property
    def last_line(self) -> str:
        """The line that most likely says why, for a sentence."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it printed nothing"


def act(argv: Sequence[str], seconds: float, owner: Owner | None = None, environment: dict[str, str] | None = None, cwd: str = "/",
        stdin: bytes = b"", heard: Callable[[str], None] | None = None) -> Acted:
    """Run a command to its end. `heard` gets the newest line at most once in five seconds. HostError when it cannot be started."""
    own = {"HOME": owner.home, "USER": owner.user, "LOGNAME": owner.user} if owner else {"HOME": "/root"}

    def prepare() -> None:
        if owner is not None and os.geteuid() != owner.uid:
            drop_to(owner)
        os.chdir(cwd)  # as that user: root may enter where the user may not

    try:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            list(argv), stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**TOOL_ENVIRONMENT, **own, **(environment or {})}, preexec_fn=prepare, start_new_session=True)  # noqa: PLW1509  no threads
    except FileNotFoundError:
        raise HostError("command %s is not installed" % argv[0]) from None
    except (OSError, subprocess.SubprocessError) as problem:
        raise HostError("command %s could not be started: %s" % (argv[0], problem)) from None
    kept, late = _follow(process, stdin, time.monotonic() + seconds, heard)
    if late:
        _end_group(process.pid)
    process.wait()
    # A daemon that was left behind keeps the pipe open and must not keep us.
    return Acted(None if late else process.returncode, kept.decode("utf-8", "replace"))


def _follow(process: subprocess.Popen[bytes], stdin: bytes, deadline: float, heard: Callable[[str], None] | None) -> tuple[bytes, bool]:
    kept = bytearray()
    told = time.monotonic()
    if process.stdout is None:
        return b"", False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while time.monotonic() < deadline:
            for key, _mask in selector.select(0.2):
                if key.fileobj is process.stdin:
                    stdin = _feed(process, stdin, selector)
                    continue
                part = os.read(key.fd, 1 << 16)
                if not part:
                    return bytes(kept), False
                kept += part
                del kept[:-KEPT_BYTES]
                if heard is not None and time.monotonic() - told > 5:
                    told = time.monotonic()
                    heard(Acted(0, kept[-2000:].decode("utf-8", "replace")).last_line)
            if process.poll() is not None and not selector.select(0):
                return bytes(kept), False
    return bytes(kept), True


def _feed(process: subprocess.Popen[bytes], stdin: bytes, selector: selectors.BaseSelector) -> bytes:
    pipe = process.stdin
    if pipe is None:
        return b""
    try:
        rest = stdin[os.write(pipe.fileno(), stdin[:1 << 16]):]
    except BlockingIOError:
        return stdin
    except BrokenPipeError:
        rest = b""
    if not rest:
        selector.unregister(pipe)
        with contextlib.suppress(OSError):
            pipe.close()
    return rest


def _end_group(group: int) -> None:
    for number, wait in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 1.0)):
        with contextlib.suppress(OSError):
            os.killpg(group, number)
        end = time.monotonic() + wait
        while time.monotonic() < end:
            try:
                if os.waitid(os.P_PID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:  # waitpid knows no WNOWAIT
                    return
            except ChildProcessError:
                return
            time.sleep(0.05)
