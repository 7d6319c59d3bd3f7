# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks again and again is cured three times a day, and then left to a human being."""

from __future__ import annotations

from pathlib import Path

import pytest

from live import ROOT, Box
from test_remediation import EVERYTHING, play


@pytest.mark.thorough
def test_the_fourth_time_it_is_escalated(tmp_path: Path) -> None:
    remediate = [ROOT / "playbooks" / "remediate.yml"]
    with Box.start("trixie") as box:
        box.ready()
        for number in range(3):
            box.run("systemctl stop nginx")
            host, output, code = play(box, tmp_path / str(number), remediate, *EVERYTHING)
            assert (code, [step["state"] for step in host["remediation"]["steps"]]) == (0, ["kept"]), output
        box.run("systemctl stop nginx")
        host, output, code = play(box, tmp_path / "fourth", remediate, *EVERYTHING)
        step = host["remediation"]["steps"][0]
        assert code != 0 and step["escalated"] and "3 times" in step["why_not"]["en"], output
        assert box.run("systemctl is-active nginx", check=False).out.strip() == "inactive"
        assert "something else" in output, output
