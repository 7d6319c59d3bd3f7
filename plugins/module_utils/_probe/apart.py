# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe in a process of its own, which outlives whoever asked for it: it is never torn away between a post and its deletion.

It ends on its own. SIGTERM, SIGINT, SIGHUP and the death of the asker make it stop posting, and delete (private, may change any time).
"""

from __future__ import annotations

import json
import os
import select
import signal
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._probe.client import Unfit
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.posts import budget_seconds, probe

MAX_RESULT_BYTES = 1 << 20
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_apart(options: dict[str, Any]) -> dict[str, Any]:
    """{state, reason?, facts, seconds}: what the probe told, within budget_seconds(options) and a moment."""
    started = time.monotonic()
    reader, writer = os.pipe()
    asker = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            _be_alone(writer)
            _child(options, asker, writer)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        told = _hear(reader, started + budget_seconds(options))
        if told is None:
            os.kill(child, signal.SIGTERM)
            told = _failed("the probe came to no end within %.0f s; it was told to stop and deletes what it posted"
                           % (time.monotonic() - started))
    finally:
        os.close(reader)
        os.waitpid(child, os.WNOHANG)
    told["seconds"] = round(time.monotonic() - started, 3)
    return told


def _be_alone(writer: int) -> None:
    """A session of its own, and nothing of the asker's held open: an ssh would wait for the end of its output."""
    os.setsid()
    os.umask(0o077)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nowhere, handle)
    os.closerange(3, writer)
    os.closerange(writer + 1, 65536)


def _child(options: dict[str, Any], asker: int, writer: int) -> None:
    stopped: list[int] = []
    for number in _SIGNALS:
        signal.signal(number, lambda got, _frame: stopped.append(got))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def going_on() -> None:
        if stopped or os.getppid() != asker:
            raise Unfit("the probe was interrupted")

    def tell(told: dict[str, Any]) -> None:
        data = memoryview(json.dumps(told).encode())
        try:
            while data:
                data = data[os.write(writer, data):]
        except OSError:
            pass  # nobody listens any more; the cleaning goes on
        os.close(writer)

    probe(options, going_on, tell)


def _hear(reader: int, until: float) -> dict[str, Any] | None:
    data = bytearray()
    while len(data) <= MAX_RESULT_BYTES:
        ready, _nothing, _none = select.select([reader], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return None
        part = os.read(reader, 65536)
        if not part:
            break
        data += part
    try:
        told = json.loads(bytes(data))
    except ValueError:
        told = None
    return told if isinstance(told, dict) else _failed("the process of the probe was killed; the next probe deletes what it left")


def _failed(reason: str) -> dict[str, Any]:
    return {"state": "failed", "facts": {}, "reason": reason}
