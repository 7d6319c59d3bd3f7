# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diagnosis of one host costs beside `ansible -m setup` on the same host: paired runs, printed, never asserted.

.venv/bin/python tests/bench/bench_diagnose.py [PAIRS]
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time

from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "live"))

from live import ROOT, SUITES, Box, ansible, inventory  # noqa: E402


def timed(program: str, *arguments: str | Path) -> tuple[float, str]:
    begin = time.perf_counter()
    done = ansible(*arguments, program=program, ANSIBLE_PIPELINING="1")
    if done.returncode:
        sys.exit(done.stdout)
    return time.perf_counter() - begin, done.stdout


def bench(suite: str, folder: Path, pairs: int) -> None:
    with Box.start(suite) as box:
        box.ready()
        hosts = ("-i", inventory(folder, box))
        setup = ("ansible", "all", *hosts, "-m", "ansible.builtin.setup")
        facts = ("ansible", "all", *hosts, "-m", "fediops.mastodon.mastodon_facts")
        diagnose = ("ansible-playbook", ROOT / "playbooks" / "diagnose.yml", *hosts, "-e", f"mastodon_report_dir={folder / 'report'}")
        seconds: dict[str, list[float]] = {"setup": [], "facts": [], "diagnose": []}
        size, tasks = 0, 0
        for pair in range(pairs + 1):
            for name, command in (("setup", setup), ("diagnose", diagnose), ("facts", facts)):
                took, output = timed(*command)
                if name == "facts":
                    size = len(json.dumps(json.loads(output[output.index("{") :])["ansible_facts"]["mastodon"]))
                if name == "diagnose":
                    tasks = output.count("\nTASK [")
                if pair:  # the first round warms the caches of the controller and of the host
                    seconds[name].append(took)
        ratios = [one / other for one, other in zip(seconds["diagnose"], seconds["setup"])]
        for name, values in seconds.items():
            print(
                f"{suite}: {name:9} median {statistics.median(values):.2f} s  (min {min(values):.2f}, max {max(values):.2f}, {pairs} runs)"
            )
        print(f"{suite}: diagnose / setup  median of paired ratios {statistics.median(ratios):.2f}")
        print(f"{suite}: controller tasks a host meets {tasks}; facts of the host {size / 1000:.1f} kB")


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as temporary:
        for suite in SUITES:
            bench(suite, Path(temporary), pairs)


if __name__ == "__main__":
    main()
