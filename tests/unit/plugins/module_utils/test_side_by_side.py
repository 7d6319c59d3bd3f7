# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subsets as processes: what hangs, breaks or dies costs itself only. Real processes, nothing stands in for them."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostDenied, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import side_by_side


def good(_host: Host) -> dict[str, Any]:
    return {"answer": 42}


def hangs(_host: Host) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.run(["sleep", "60"], check=False)
    return {}


def breaks(_host: Host) -> dict[str, Any]:
    raise KeyError("a-secret-value")


def dies(_host: Host) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def denied(_host: Host) -> dict[str, Any]:
    raise HostDenied("not yours")


def failed(_host: Host) -> dict[str, Any]:
    raise HostError("not there")


def partial(_host: Host) -> dict[str, Any]:
    return {"kept": 1, "_reason": "half of it was unreadable"}


def cut(_host: Host) -> dict[str, Any]:
    return {"kept": 1, "_partly": "only the newest lines were read"}


def floods(_host: Host) -> dict[str, Any]:
    return {"text": "x" * (8 << 20)}


def test_each_outcome_and_nobody_waits() -> None:
    observers = {each.__name__: each for each in (good, hangs, breaks, dies, denied, failed, partial, cut, floods)}
    begin = time.monotonic()
    outcomes = side_by_side(observers, dict.fromkeys(observers, begin + 1.5))
    took = time.monotonic() - begin
    states = {name: outcome.state for name, outcome in outcomes.items()}
    assert states == {
        "good": "ok", "hangs": "timeout", "breaks": "failed", "dies": "failed", "denied": "denied", "failed": "failed", "partial": "failed",
        "cut": "ok", "floods": "failed",
    }  # fmt: skip
    assert outcomes["good"].facts == {"answer": 42}
    assert (outcomes["partial"].facts, outcomes["partial"].reason) == ({"kept": 1}, "half of it was unreadable")
    assert (outcomes["cut"].facts, outcomes["cut"].reason) == ({"kept": 1}, "only the newest lines were read")
    assert "KeyError at test_side_by_side.py" in outcomes["breaks"].reason
    assert "a-secret-value" not in outcomes["breaks"].reason
    assert 1.4 < took < 3


def test_the_commands_of_a_hung_subset_are_killed_with_it() -> None:
    def hangs_with_a_mark(_host: Host) -> dict[str, Any]:
        subprocess.run(["sleep", "61.5"], check=False)
        return {}

    side_by_side({"hangs": hangs_with_a_mark}, {"hangs": time.monotonic() + 0.5})
    time.sleep(0.2)
    assert subprocess.run(["pgrep", "-f", "^sleep 61.5$"], check=False, stdout=subprocess.DEVNULL).returncode == 1
