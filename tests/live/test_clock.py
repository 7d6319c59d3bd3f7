# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wrong clock that a time service sets right, on a virtual machine: containers have that of their kernel.

What is not real: the controller says that its own clock is kept (only then is a difference the host's fault), kept or not. The time server
of the machine gives that very clock.
"""

from __future__ import annotations

import time

from collections.abc import Iterator
from pathlib import Path

import pytest

from live import ROOT, preloaded
from one_fix import apply, module, roll_back
from proof import prove
from test_faults import summary
from test_remediation import EVERYTHING, play
from virtual import SLOW, VirtualMachine, virtual_machine

KEPT = """
#include <string.h>
#include <sys/timex.h>
int adjtimex(struct timex *told) { memset(told, 0, sizeof *told); return TIME_OK; }
"""
SERVICE = "systemd-timesyncd"
STATE = f"systemctl is-enabled {SERVICE}; systemctl is-active {SERVICE}; dpkg-query -W -f '${{db:Status-Abbrev}}' {SERVICE}"


@pytest.fixture(scope="module")
def machine() -> Iterator[VirtualMachine]:
    with virtual_machine() as started:
        started.put(f"/etc/systemd/timesyncd.conf.d/{SERVICE}.conf", "[Time]\nNTP=10.0.2.2\n")
        yield started


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller's clock is kept by a time service, as it says."""
    monkeypatch.setenv("LD_PRELOAD", str(preloaded(KEPT, tmp_path)))


def ahead(machine: VirtualMachine) -> float:
    """Seconds; a command takes some."""
    return float(machine.run(["date", "+%s.%N"]).out) - time.time()


@pytest.mark.thorough
@pytest.mark.usefixtures("kept")
def test_ahead_and_nothing_keeps_it(machine: VirtualMachine, tmp_path: Path) -> None:
    remediate = [ROOT / "playbooks" / "remediate.yml"]
    machine.run("date -s '+2 hours'")
    before = machine.run(STATE, check=False).out
    planted, output, _code = play(machine, tmp_path / "planted", [ROOT / "playbooks" / "diagnose.yml"], *SLOW)
    assert [finding["id"] for finding in planted["findings"] if finding["rank"] == 1] == ["clock_skew"], summary(planted) + output[-3000:]

    _host, output, code = play(machine, tmp_path / "check", remediate, "--check", "--diff", *EVERYTHING, *SLOW)
    assert code == 0 and machine.run(STATE, check=False).out == before and ahead(machine) > 7000, output

    cured, output, code = play(machine, tmp_path / "cured", remediate, *EVERYTHING, *SLOW)
    assert [(step["fix"], step["state"]) for step in cured["remediation"]["steps"]] == [("sync_clock", "kept")] and code == 0, output
    assert abs(ahead(machine)) < 10 and machine.run(STATE).out.split() == ["enabled", "active", "ii"]
    prove(machine)
    again, output, code = play(machine, tmp_path / "again", remediate, *EVERYTHING, *SLOW)
    assert (code, again["verdict"], again["findings"], again["unknown"]) == (0, "clear", [], []), summary(again) + output[-3000:]
    assert "changed=0" in output, output

    assert roll_back(machine, tmp_path / "back", cured["remediation"]["run"])["state"] == "rolled_back"
    assert machine.run(STATE, check=False).out == before and abs(ahead(machine)) < 10


@pytest.mark.thorough
def test_behind_and_the_service_was_switched_off(machine: VirtualMachine, tmp_path: Path) -> None:
    """Two days behind, and back: journals, certificates and the fix's own record live through both jumps."""
    machine.run(f"apt-get -q update && apt-get install -qy {SERVICE}", timeout=300)
    machine.run(f"systemctl disable --now {SERVICE} && date -s '-2 days'")
    step, run = apply(machine, tmp_path / "1", "sync_clock")
    assert (step["state"], step["problems"], abs(ahead(machine)) < 10) == ("kept", [], True), step
    assert machine.run(STATE).out.split() == ["enabled", "active", "ii"]
    clock = module(machine, tmp_path / "facts", "mastodon_facts", gather_subset=["memory"])["ansible_facts"]["mastodon"]["clock"]
    assert clock["synchronized"], clock
    step, _run = apply(machine, tmp_path / "2", "sync_clock")
    assert step["state"] == "nothing", step
    # What was started runs on until the next boot, as with all fixes: what the files say is as before.
    assert roll_back(machine, tmp_path / "3", run)["state"] == "rolled_back"
    assert machine.run(STATE, check=False).out.split() == ["disabled", "active", "ii"]
    machine.run(f"apt-get purge -qy {SERVICE}")


@pytest.mark.thorough
def test_years_behind_no_list_of_packages_is_valid(machine: VirtualMachine, tmp_path: Path) -> None:
    """As after a boot without a battery: nothing is forced, and apt's own reason is told."""
    machine.run("rm -rf /var/lib/apt/lists/* && date -s 2020-01-01")
    step, _run = apply(machine, tmp_path, "sync_clock")
    assert step["state"] == "failed" and "signature verification failed" in step["reason"] and "date -s" in step["reason"], step
