# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual machine of live tests, ready, and the patience it needs."""

from __future__ import annotations

import contextlib
import subprocess
import sys

from collections.abc import Iterator

from live import ROOT

sys.path.insert(0, str(ROOT / "tests" / "testbed" / "vm"))

from machine import VirtualMachine  # noqa: E402

__all__ = ["SLOW", "VirtualMachine", "virtual_machine"]

SLOW = ["-e", "mastodon_gather_timeout=60"]  # a processor that is not one


@contextlib.contextmanager
def virtual_machine() -> Iterator[VirtualMachine]:
    subprocess.run([ROOT / "tools" / "packages", "openssh-client"], check=True)
    with VirtualMachine.start("trixie") as machine:
        machine.ready()
        yield machine
