# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power is cut while a remediation works: what was not on the disk yet is gone, which no container can show.

The kernel of a virtual machine is reset without a sync (sysrq b) when an act was written down, be it done, half done or not begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from test_interrupted import RUNS, begun, cured_by_the_next, plant, run_of
from virtual import SLOW, VirtualMachine, virtual_machine

CUTTER = """
import glob, time
end = time.time() + 600
while time.time() < end:
    for path in glob.glob("RUNS/*/*/journal.jsonl"):
        with open(path) as stream:
            if "\\n" in stream.read():
                open("/proc/sysrq-trigger", "w").write("b")
""".replace("RUNS", RUNS)


@pytest.fixture(scope="module")
def machine() -> Iterator[VirtualMachine]:
    with virtual_machine() as started:
        yield started


@pytest.mark.thorough
@pytest.mark.parametrize("fault", ["log_level_debug", "media_outside_sandbox"])
def test_power_cut(machine: VirtualMachine, fault: str, tmp_path: Path) -> None:
    machine.run(f"rm -rf {RUNS}")
    plant(machine, tmp_path, fault)
    boot = machine.run("cat /proc/sys/kernel/random/boot_id").out
    machine.put("/run/cutter.py", CUTTER)
    machine.run(["sh", "-c", 'setsid python3 /run/cutter.py >/dev/null 2>&1 </dev/null &'])
    try:
        remediation = begun(machine, tmp_path, *SLOW)
        remediation.wait(timeout=600)
    finally:  # not in the midst of the next test
        machine.run("pkill -f /run/[c]utter.py", check=False)
    machine.wait_for_ssh()
    assert machine.run("cat /proc/sys/kernel/random/boot_id").out != boot and remediation.returncode != 0
    assert machine.wait_for_services(), "the services do not come up"
    assert run_of(machine)["state"] == "acting"
    told = cured_by_the_next(machine, tmp_path / "cured", *SLOW)
    assert len(told["recovered"]) == 1, told
