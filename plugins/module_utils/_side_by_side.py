# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the subsets side by side, each in a process of its own (private, may change any time).

Processes rather than threads: one that hangs in the kernel (a dead network mount, a frozen disk) can be left behind, and one may
become another user for good without the others noticing. The result comes back as JSON through a pipe, so nothing is written.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import signal
import time

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostDenied, HostError

MAX_RESULT_BYTES = 4 << 20


class Outcome(NamedTuple):
    """What became of one subset: state (ok, failed, timeout, denied), seconds it took, its facts, the reason when not ok."""

    state: str
    seconds: float
    facts: dict[str, Any]
    reason: str


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    Observer = Callable[[Host], dict[str, Any]]


def side_by_side(observers: Mapping[str, Observer], deadlines: Mapping[str, float]) -> dict[str, Outcome]:
    """Run every observer; the result holds an Outcome for each, and comes back once the last deadline has passed at the latest.

    An observer may put `_reason` into its facts: they are kept, and its state becomes `failed` with that sentence; with `_partly` it stays
    `ok`, and the sentence says what was not looked at.
    """
    outcomes: dict[str, Outcome] = {}
    running: dict[int, _Child] = {}
    with selectors.DefaultSelector() as selector:
        for name, observer in observers.items():
            child = _fork(name, observer, deadlines[name])
            running[child.pipe] = child
            selector.register(child.pipe, selectors.EVENT_READ)
        while running:
            now = time.monotonic()
            for child in [each for each in running.values() if each.deadline <= now]:
                _kill(child.pid)
                outcomes[child.name] = Outcome("timeout", now - child.started, {}, "no answer within %.1f s" % (now - child.started))
                selector.unregister(child.pipe)
                os.close(child.pipe)
                del running[child.pipe]
            if not running:
                break
            for key, _mask in selector.select(max(0.0, min(each.deadline for each in running.values()) - now)):
                child = running[key.fd]
                part = os.read(key.fd, 1 << 16)
                child.data += part
                if part and len(child.data) <= MAX_RESULT_BYTES:
                    continue
                outcomes[child.name] = _outcome(child, time.monotonic() - child.started)
                selector.unregister(key.fd)
                os.close(key.fd)
                del running[key.fd]
                _kill(child.pid)
    return outcomes


def apart(host: Host, most: float, observer: Callable[[float], dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """(facts, "") of what may hang, in at most `most` seconds, of which it is told those it has; else ({}, why not).

    A process of its own, for the C library waits for a dead name server as long as it likes; a second of the host's time is left.
    """
    seconds = host.left(most + 1.0) - 1.0
    if seconds < 1.0:
        return {}, "there was no time left"
    outcome = side_by_side({"apart": lambda _host: observer(seconds - 0.3)}, {"apart": time.monotonic() + seconds})["apart"]
    return (outcome.facts, "") if outcome.state == "ok" else ({}, outcome.reason)


class _Child:
    def __init__(self, name: str, pid: int, pipe: int, deadline: float) -> None:
        self.name = name
        self.pid = pid
        self.pipe = pipe
        self.deadline = deadline
        self.started = time.monotonic()
        self.data = bytearray()


def _fork(name: str, observer: Observer, deadline: float) -> _Child:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            # A session of its own: killed together with the commands it started, and none of them can open root's terminal.
            os.setsid()
            _write(writer, json.dumps(_observe(observer, deadline)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    return _Child(name, pid, reader, deadline)


def _observe(observer: Observer, deadline: float) -> dict[str, Any]:
    try:
        facts = observer(Host(deadline))
        reason, partly = facts.pop("_reason", ""), facts.pop("_partly", "")
        return {"state": "failed" if reason else "ok", "facts": facts, "reason": reason or partly}
    except HostDenied as problem:
        return {"state": "denied", "facts": {}, "reason": str(problem)}
    except HostError as problem:
        return {"state": "failed", "facts": {}, "reason": str(problem)}
    except Exception as problem:  # one broken subset must leave the others untouched, and say where it broke
        trace = problem.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "%s:%d" % (os.path.basename(trace.tb_frame.f_code.co_filename), trace.tb_lineno) if trace is not None else "?"
        # The class and the place only: the message of an exception may quote what was read, secrets included.
        return {"state": "failed", "facts": {}, "reason": "internal error %s at %s; please report it" % (type(problem).__name__, where)}


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view):]


def _outcome(child: _Child, seconds: float) -> Outcome:
    try:
        result = json.loads(bytes(child.data))
        return Outcome(result["state"], seconds, result["facts"], result["reason"])
    except (ValueError, KeyError):
        return Outcome("failed", seconds, {}, "the process of this subset died or answered too much (%d bytes)" % len(child.data))


def _kill(pid: int) -> None:
    """Kill a subset with its commands; never wait for it, the kernel may be holding it."""
    for signal_it in (os.killpg, os.kill):
        try:
            signal_it(pid, signal.SIGKILL)
        except OSError as problem:
            if problem.errno not in (errno.ESRCH, errno.EPERM):
                raise
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        pass
