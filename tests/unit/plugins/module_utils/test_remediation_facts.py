# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subset remediation, over journals as the engine writes them, and as nobody should."""

from __future__ import annotations

import json
import os
import tempfile
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import journal
from ansible_collections.fediops.mastodon.plugins.module_utils._change.run import new_steps
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import remediation
from ansible_collections.fediops.mastodon.plugins.module_utils._side_by_side import Outcome, side_by_side

NOW = 1_800_000_000.0


def host() -> Host:
    return Host(time.monotonic() + 10)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """The two places of journals, below a folder everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        found = (Path(name) / "lib", Path(name) / "run")
        for module in (remediation, journal):
            monkeypatch.setattr(module, "PLACES", tuple(map(str, found)))
        monkeypatch.setattr(time, "time", lambda: NOW)
        yield found


def run(number: int, state: str = "settled", finished: float | None = None, **steps: str) -> journal.Journal:
    """A run as the engine writes it: step allow_writes in the state given for each issue, which also explained web_errors_5xx."""
    asked = [{"fix": "allow_writes", "issues": [name], "covers": [name, "web_errors_5xx"]} for name in steps]
    made = journal.Journal.create(f"2026-11-21T09-12-{number:02d}Z-3f2a", "admin@laptop", new_steps(asked))
    for step, word in zip(made.run["steps"], steps.values(), strict=True):
        step.update(state=word, reason="" if word == "kept" else f"why {word}")
    made.run.update(state=state, started_epoch=NOW - 600 + number, **({} if finished is None else {"finished_epoch": finished}))
    made.save()
    return made


def test_a_host_that_was_never_changed(places: tuple[Path, Path]) -> None:
    assert remediation.observe(host(), {}) == {"runs": [], "cured": {}}


def test_what_the_engine_wrote_is_read(places: tuple[Path, Path]) -> None:
    run(1, finished=NOW - 500, sandbox_read_only="kept", redis_down="undone")
    run(2, state="acted", finished=NOW - 400, media_missing="applied")
    found = remediation.observe(host(), {})
    assert found["open"] == {
        "id": "2026-11-21T09-12-02Z-3f2a", "controller": "admin@laptop", "started_epoch": NOW - 598, "state": "acted",
    }  # fmt: skip
    assert found["runs"][1] == {
        "id": "2026-11-21T09-12-01Z-3f2a", "started_epoch": NOW - 599, "finished_epoch": NOW - 500, "state": "settled",
        "steps": [
            {"fix": "allow_writes", "issues": ["sandbox_read_only"], "covers": ["sandbox_read_only", "web_errors_5xx"],
             "state": "kept", "reason": ""},
            {"fix": "allow_writes", "issues": ["redis_down"], "covers": ["redis_down", "web_errors_5xx"],
             "state": "undone", "reason": "why undone"},
        ],
    }  # fmt: skip
    assert found["cured"] == {"sandbox_read_only": NOW - 500, "web_errors_5xx": NOW - 500}
    assert remediation.cured(host()) == found["cured"]


def test_the_last_cure_counts_and_one_that_was_rolled_back_does_not(places: tuple[Path, Path]) -> None:
    run(1, finished=NOW - 500, a="kept")
    run(2, finished=NOW - 400, a="kept")
    run(3, state="rolled_back", finished=NOW - 300, a="rolled_back", b="kept")
    run(4, finished=NOW + 3600, a="kept")  # by a clock that was wrong
    assert remediation.observe(host(), {})["cured"] == {"a": NOW - 400, "web_errors_5xx": NOW - 400}


def test_the_newest_twenty_of_both_places(places: tuple[Path, Path]) -> None:
    for number in range(15):
        run(number, finished=NOW - number, a="kept")
    places[0].rename(places[1])
    for number in range(15, 30):
        run(number, finished=NOW - number, a="kept")
    names = [each["id"] for each in remediation.observe(host(), {})["runs"]]
    assert names == [f"2026-11-21T09-12-{number:02d}Z-3f2a" for number in range(29, 9, -1)]


BAD: list[Any] = [
    b"", b"{", b"[" * 100_000, b"\xff" * 100, b"1", b"9" * 10_000, {"schema": 2}, {"state": "done"}, {"id": "../../etc"},
    {"started_epoch": None}, {"started_epoch": "1"}, {"started_epoch": float("nan")}, {"steps": {}}, {"steps": [1]},
    {"steps": [{"fix": "a", "state": "kept", "issues": [], "covers": ["../x"], "reason": ""}]},
    {"steps": [{"fix": "a", "state": "kept", "issues": [], "covers": [["x"]], "reason": ""}]},
    {"steps": [{"fix": "a\n", "state": "kept", "issues": [], "covers": [], "reason": ""}]},
    {"steps": [{"fix": "a", "state": "kept", "issues": [], "covers": ["a"] * 101, "reason": ""}]},
    {"steps": [{"fix": "a", "state": "kept", "issues": [], "covers": ["a"], "reason": ""}] * 51},
    {"progress": "x" * (1 << 20)},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_what_is_no_run_is_left_out(places: tuple[Path, Path], bad: Any) -> None:
    run(1, finished=NOW - 500, a="kept")
    broken = run(2, finished=NOW - 400, a="kept")
    data = bad if isinstance(bad, bytes) else json.dumps({**broken.run, **bad}).encode()
    Path(broken.folder, "run.json").write_bytes(data)
    found = remediation.observe(host(), {})
    assert [each["id"] for each in found["runs"]] == ["2026-11-21T09-12-01Z-3f2a"]
    assert found["cured"]["a"] == NOW - 500


def test_what_is_no_file_is_left_out(places: tuple[Path, Path]) -> None:
    run(1, finished=NOW - 500, a="kept")
    for number in (2, 3):
        run(number, finished=NOW - 400, a="kept")
        Path(places[0], "runs", f"2026-11-21T09-12-0{number}Z-3f2a", "run.json").unlink()
    os.mkfifo(places[0] / "runs/2026-11-21T09-12-02Z-3f2a/run.json")
    assert len(remediation.observe(host(), {})["runs"]) == 1


def test_sentences_are_one_line_and_bounded(places: tuple[Path, Path]) -> None:
    made = run(1, state="acting", a="failed")
    made.run["controller"] = "a\x1b[31m\n\u202eb" + "c" * 1000
    made.run["steps"][0]["reason"] = ["not a text"]
    made.save()
    found = remediation.observe(host(), {})
    assert found["open"]["controller"].startswith("a [31m bccc")
    assert len(found["open"]["controller"]) == 300
    assert found["runs"][0]["steps"][0]["reason"] == ""
    assert found["cured"] == {}


def as_nobody() -> Outcome:
    def observe(door: Host) -> dict[str, Any]:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return {**remediation.observe(door, {}), "of_logs": remediation.cured(door)}

    return side_by_side({"remediation": observe}, {"remediation": time.monotonic() + 10})["remediation"]


def test_without_root(places: tuple[Path, Path]) -> None:
    found = as_nobody()
    assert (found.state, found.facts) == ("ok", {"runs": [], "cured": {}, "of_logs": {}})
    run(1, finished=NOW - 500, a="kept")
    if os.geteuid() != 0:
        places[0].chmod(0)
    found = as_nobody()
    assert found.state == "denied"
    assert found.reason.endswith("run with become: true (as root)")
    assert f"{places[0]}/runs may not be read by user " in found.reason


def test_what_nobody_judged_is_not_cured(places: tuple[Path, Path]) -> None:
    run(1, finished=NOW - 500, a="kept", b="kept")
    found = journal.Journal.load("2026-11-21T09-12-01Z-3f2a")
    assert found is not None
    found.run["steps"][1]["reason"] = "not judged: its run was interrupted"
    found.save()
    assert remediation.observe(host(), {})["cured"] == {"a": NOW - 500, "web_errors_5xx": NOW - 500}
