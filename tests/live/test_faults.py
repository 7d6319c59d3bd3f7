# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault, planted for real in a fresh box: the diagnosis names its cause first, and no other root cause; a healthy server is clear.

In the short run each fault is in one suite: those that stand for a way of curing are cured (test_remediation), which diagnoses them first;
all others are diagnosed here.

One fault by hand: pytest --thorough tests/live/test_faults.py -k 'postgresql_stopped and trixie'
"""

from __future__ import annotations

import json
import zlib

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from live import FAULTS, SUITES, Box, box_for, diagnose

ALL = sorted(path.parent.name for path in FAULTS.glob("*/fault.yml"))


def described(fault: str) -> dict[str, Any]:
    description: dict[str, Any] = yaml.safe_load((FAULTS / fault / "fault.yml").read_text())
    return description


def suites(fault: str) -> list[str]:
    """Where the fault can be planted: everywhere, unless its fault.yml says otherwise."""
    return list(described(fault).get("suites", SUITES))


# The short run has every fault in one suite, each suite about half of them and always the same; the thorough run has all in both.
SUITE_OF = {fault: suites(fault)[zlib.crc32(fault.encode()) % len(suites(fault))] for fault in ALL}


def in_the_short_run(fault: str, suite: str, *, cured: bool) -> bool:
    """Whether the short run has this fault in this suite, and (cured) cures it or only diagnoses it."""
    known = described(fault)
    if known.get("extra", False):
        return False
    only_diagnosed = known.get("thorough", False) or known.get("remedy") == "none"
    return suite == SUITE_OF[fault] and cured != only_diagnosed


def cases(*, cured: bool) -> list[Any]:
    """Every fault in every suite; marked as thorough what the short run leaves out."""
    return [
        pytest.param(fault, suite, marks=() if in_the_short_run(fault, suite, cured=cured) else pytest.mark.thorough)
        for fault in ALL
        for suite in suites(fault)
    ]


@pytest.mark.parametrize(("fault", "suite"), cases(cured=False))
def test_fault_is_named_first_and_alone(fault: str, suite: str, tmp_path: Path) -> None:
    known = described(fault)
    with box_for(suite, known) as box:
        box.ready()
        diagnosis, output = diagnose(box, tmp_path, plant=fault)
        host = diagnosis["hosts"][box.name]
        roots = [finding["id"] for finding in host["findings"] if finding["rank"] == 1]
        assert roots == [known["cause"]], f"{roots}\n{summary(host)}\n{output[-3000:]}"
        assert "changed: [" not in output.rsplit("PLAY [Diagnose", 1)[1], output
        root = next(finding for finding in host["findings"] if finding["rank"] == 1)
        assert known.get("remedy") != "none" or (root["fix"] is None and root["no_fix"]["en"]), root


def summary(host: dict[str, Any]) -> str:
    lines = [
        f"{each['rank']} {each['id']} <- {each['explained_by']}: " + " | ".join(str(item["value"])[:160] for item in each["evidence"][:6])
        for each in host["findings"]
    ]
    lines += [f"? {each['id']}: {each['reason']}" for each in host["unknown"]]
    return "\n".join([*lines, json.dumps(host["probes"])])


@pytest.fixture(scope="module", params=SUITES)
def healthy(request: pytest.FixtureRequest) -> Iterator[Box]:
    with Box.start(request.param) as box:
        box.ready()
        yield box


def test_healthy_server_is_clear(healthy: Box, tmp_path: Path) -> None:
    diagnosis, output = diagnose(healthy, tmp_path)
    host = diagnosis["hosts"][healthy.name]
    assert (host["verdict"], host["findings"], host["unknown"]) == ("clear", [], []), summary(host)
    assert {probe["state"] for probe in host["probes"].values()} == {"ok"}
    assert "changed=0" in output and "failed=0" in output
