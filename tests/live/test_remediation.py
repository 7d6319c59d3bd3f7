# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault, named first and alone, and cured for real: foreseen in check mode, cured, proven, clear, not cured twice, taken back.

One by hand: pytest --thorough tests/live/test_remediation.py -k 'postgresql_stopped and trixie'

A fault.yml says `thorough: true` when the short run is to diagnose it only: its cure takes more than two minutes, or another fault is cured
the same way; `extra: true` when the short run does without it: it has another fault of the same cause, or unit tests judge all that shows
it, be it a setting or lines that tests/corpus has from the testbed; `suites` where it can be planted. It says how it ends when that is not
a cure: `remedy: none` (no known cure is safe: nothing may be touched, and why is said), `remedy: refused` (this server cannot be cured this
way: the fix says so before it touches anything), `remedy: undone` (what was tried did not cure, so it is taken back, with evidence before
and after) or `remedy: eased` (more of what there is too little of; time does the rest).
"""

from __future__ import annotations

import json
import re

from pathlib import Path
from typing import Any

import pytest

from live import FAULTS, ROOT, Box, ansible, box_for, inventory
from proof import differences, picture, prove
from test_faults import cases, described, summary

EVERYTHING = ["-e", "mastodon_remediate_impact=rebuild"]


def play(box: Box, folder: Path, playbooks: list[Path], *arguments: str) -> tuple[dict[str, Any], str, int]:
    """Run playbooks; (diagnosis of this box, output, exit code)."""
    folder.mkdir(exist_ok=True)
    done = ansible(*playbooks, "-i", inventory(folder, box), "-e", f"mastodon_report_dir={folder / 'report'}", *arguments, timeout=900)
    report = folder / "report" / "diagnosis.json"
    assert report.exists(), done.stdout
    return json.loads(report.read_text())["hosts"][box.name], done.stdout, done.returncode


def threads(box: Box) -> int:
    """Threads of Sidekiq, by the title it gives itself; 0 while it does not run."""
    title = box.run("pgrep -af '^sidekiq ' | head -1", check=False).out
    found = re.search(r" of (\d+) busy", title)
    return int(found[1]) if found else 0


@pytest.mark.parametrize(("fault", "suite"), cases(cured=True))
def test_fault_is_cured(fault: str, suite: str, tmp_path: Path) -> None:
    known = described(fault)
    remediate = [ROOT / "playbooks" / "remediate.yml"]
    with box_for(suite, known) as box:
        box.ready()
        planted, output, _code = play(
            box, tmp_path / "planted", [FAULTS / "plant.yml", ROOT / "playbooks" / "diagnose.yml"], "-e", f"fault={fault}"
        )
        roots = [finding for finding in planted["findings"] if finding["rank"] == 1]
        assert [finding["id"] for finding in roots] == [known["cause"]], summary(planted) + output[-3000:]
        sick = picture(box)

        foreseen, output, code = play(box, tmp_path / "check", remediate, "--check", "--diff", *EVERYTHING)
        assert differences(sick, picture(box)) == [], output
        remedy = known.get("remedy", "cured")
        if remedy == "none":
            assert roots[0]["fix"] is None and roots[0]["no_fix"]["en"], roots
            _host, output, code = play(box, tmp_path / "none", remediate, *EVERYTHING)
            assert differences(sick, picture(box)) == [] and "changed=0" in output, output
            return
        if remedy == "refused":
            host, output, code = play(box, tmp_path / "refused", remediate, *EVERYTHING)
            states = {step["state"] for step in host["remediation"]["steps"]}
            assert states == {"refused"} and all(step["reason"] for step in host["remediation"]["steps"]), output
            assert differences(sick, picture(box)) == [], output
            return
        assert code == 0 and "changed=1" in output, output
        assert foreseen["remediation"]["steps"], output
        files = {path: seen for path, seen in sick.items() if path != "units"}
        if remedy == "undone":
            host, output, code = play(box, tmp_path / "undone", remediate, *EVERYTHING)
            steps = host["remediation"]["steps"]
            assert code != 0 and "undone" in {step["state"] for step in steps}, output
            assert all(step["before"] and step["after"] and step["reason"] for step in steps if step["state"] == "undone"), steps
            assert differences(files, picture(box, units=False)) == [], output
            return

        before = threads(box)
        cured, output, code = play(box, tmp_path / "cured", remediate, *EVERYTHING)
        steps = cured["remediation"]["steps"]
        assert code == 0 and {step["state"] for step in steps} <= {"kept", "nothing"}, output
        if remedy == "cured":
            prove(box)
        again, output, code = play(box, tmp_path / "again", remediate, *EVERYTHING)
        if remedy == "cured":
            assert (code, again["verdict"], again["findings"], again["unknown"]) == (0, "clear", [], []), summary(again) + output[-3000:]
        else:
            assert threads(box) > before, output
        assert "changed=0" in output, output

        if not any("cannot_undo" in step for step in steps):
            back = ansible(ROOT / "playbooks" / "rollback.yml", "-i", inventory(tmp_path, box), "-e", f"run={cured['remediation']['run']}")
            assert back.returncode == 0, back.stdout
            assert differences(files, picture(box, units=False)) == [], back.stdout
