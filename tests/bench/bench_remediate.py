# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the remediation of one cause on one host costs beside a diagnosis of it: paired runs, printed, never asserted.

.venv/bin/python tests/bench/bench_remediate.py [PAIRS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time

from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "live"))

from live import ROOT, SUITES, Box, ansible, inventory  # noqa: E402

# A cause of each kind: one that only wants a start, one that edits and restarts.
CAUSES = {
    "nginx stopped": "systemctl stop nginx",
    "media owned by root": "chown -R root:root /home/mastodon/live/public/system",
}


def timed(box: Box, folder: Path, playbook: str) -> tuple[float, str]:
    begin = time.perf_counter()
    report = f"mastodon_report_dir={folder / 'report'}"
    impact = "mastodon_remediate_impact=change"
    done = ansible(ROOT / "playbooks" / f"{playbook}.yml", "-i", inventory(folder, box), "-e", report, "-e", impact)
    if done.returncode:
        sys.exit(done.stdout)
    return time.perf_counter() - begin, done.stdout


def bench(suite: str, folder: Path, pairs: int) -> None:
    with Box.start(suite) as box:
        box.ready()
        for cause, command in CAUSES.items():
            seconds: dict[str, list[float]] = {"diagnose": [], "remediate": [], "nothing to do": []}
            tasks = 0
            for _pair in range(pairs):
                # As on the first day: what was cured three times in a day is not cured again.
                box.run(f"rm -rf /var/lib/fediops.mastodon/runs; {command}")
                seconds["diagnose"].append(timed(box, folder, "diagnose")[0])
                took, output = timed(box, folder, "remediate")
                seconds["remediate"].append(took)
                tasks = output.count("\nTASK [")
                if "changed=1" not in output:
                    sys.exit(output)
                seconds["nothing to do"].append(timed(box, folder, "remediate")[0])
            told = ", ".join(f"{name} {statistics.median(values):.1f} s" for name, values in seconds.items())
            print(f"{suite}: {cause}: median of {pairs}: {told}; {tasks} controller tasks")


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as temporary:
        for suite in SUITES:
            bench(suite, Path(temporary), pairs)


if __name__ == "__main__":
    main()
