# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what commands write, bounded in time and size (private, may change any time). Only _host.py uses it; it starts the commands."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 16


class Completed(NamedTuple):
    """What a command left: exit code (None when it was killed at its deadline), bytes of both streams, whether output was cut."""

    rc: int | None
    out: bytes
    err: bytes
    truncated: bool


class ByteStream:
    """Bytes of a command or file in chunks; after the last one, truncated and reason say what was not read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.truncated = False
        self.reason = ""

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def parts(process: subprocess.Popen[bytes], deadline: float) -> Iterator[bytes]:
    """Chunks of standard output until it ends or the deadline passes."""
    if process.stdout is None:
        return
    handle = process.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(handle, selectors.EVENT_READ)
        while True:
            wait = deadline - time.monotonic()
            if wait <= 0 or not selector.select(wait):
                return
            part = os.read(handle, CHUNK_BYTES)
            if not part:
                return
            yield part


def collect(process: subprocess.Popen[bytes], seconds: float, max_bytes: int) -> tuple[bytes, bytes, bool, bool]:
    """Both streams of a command: (out, err, cut, too late)."""
    deadline = time.monotonic() + seconds
    pipes = {process.stdout: bytearray(), process.stderr: bytearray()}
    truncated = late = False
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            wait = deadline - time.monotonic()
            ready = selector.select(wait) if wait > 0 else []
            if not ready:
                late = True
                break
            for key, _mask in ready:
                part = os.read(key.fd, CHUNK_BYTES)
                if part:
                    pipes[key.fileobj] += part  # type: ignore[index]
                else:
                    selector.unregister(key.fileobj)
            if len(pipes[process.stdout]) > max_bytes:
                truncated = True
                break
    out, err = bytes(pipes[process.stdout][:max_bytes]), bytes(pipes[process.stderr][:65536])
    if not late and not truncated:
        try:
            process.wait(max(0.05, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            late = True
    end(process)
    return out, err, truncated, late


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill what still runs and reap it without ever waiting for a process that cannot die (state D)."""
    if process.poll() is None:
        try:
            process.send_signal(signal.SIGKILL)
            process.wait(0.2)
        except (OSError, subprocess.TimeoutExpired):
            pass
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
