# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a container is still the one that was entered. Live: wrong_rails_env in tests/live/test_compose_fixes.py."""

from __future__ import annotations

import os
import subprocess
import time

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._inside import Inside


@pytest.fixture
def first() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for the first one of a container."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def inside(process: subprocess.Popen[bytes], group: str = "") -> Inside:
    own = group or Path("/proc/self/cgroup").read_text().strip()
    unit = {"_container": own, "name": "social-web-1", "pid": process.pid}
    return Inside(time.monotonic() + 10, unit, "docker.sock", os.open("/proc", os.O_RDONLY), {})


def test_it_runs(first: subprocess.Popen[bytes]) -> None:
    inside(first).demand_running()


def test_it_ends_and_is_gone(first: subprocess.Popen[bytes]) -> None:
    entered = inside(first)
    first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # there until somebody asks how it ended
    with pytest.raises(HostError, match="social-web-1 ended while"):
        entered.demand_running()
    first.wait()
    with pytest.raises(HostError, match="social-web-1 ended while"):
        entered.demand_running()


def test_another_process_has_its_number(first: subprocess.Popen[bytes]) -> None:
    with pytest.raises(HostError, match="social-web-1 ended while"):
        inside(first, "f" * 64).demand_running()
