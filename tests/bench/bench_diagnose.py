# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diagnosis of one host costs beside `ansible -m setup` on the same host: paired runs, printed, never asserted.

.venv/bin/python tests/bench/bench_diagnose.py [PAIRS]
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time

from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "live"))

from live import ROOT, SUITES, Box, ansible, inventory  # noqa: E402


def timed(program: str, *arguments: str | Path) -> tuple[float, float, str]:
    """(seconds, processor seconds of the controller, output)"""
    begin, used = time.perf_counter(), processor_seconds()
    done = ansible(*arguments, program=program, ANSIBLE_PIPELINING="1")
    if done.returncode:
        sys.exit(done.stdout)
    return time.perf_counter() - begin, processor_seconds() - used, done.stdout


def processor_seconds() -> float:
    """Of the processes that have ended: on a machine with other work it says more than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bench(suite: str, folder: Path, pairs: int) -> None:
    with Box.start(suite) as box:
        box.ready()
        hosts = ("-i", inventory(folder, box))
        setup = ("ansible", "all", *hosts, "-m", "ansible.builtin.setup")
        facts = ("ansible", "all", *hosts, "-m", "fediops.mastodon.mastodon_facts")
        diagnose = ("ansible-playbook", ROOT / "playbooks" / "diagnose.yml", *hosts, "-e", f"mastodon_report_dir={folder / 'report'}")
        seconds: dict[str, list[float]] = {"setup": [], "facts": [], "diagnose": []}
        processor: dict[str, list[float]] = {"setup": [], "facts": [], "diagnose": []}
        size, tasks = 0, 0
        for pair in range(pairs + 1):
            for name, command in (("setup", setup), ("diagnose", diagnose), ("facts", facts)):
                took, used, output = timed(*command)
                if name == "facts":
                    size = len(json.dumps(json.loads(output[output.index("{") :])["ansible_facts"]["mastodon"]))
                if name == "diagnose":
                    tasks = output.count("\nTASK [")
                if pair:  # the first round warms the caches of the controller and of the host
                    seconds[name].append(took)
                    processor[name].append(used)
        for name, values in seconds.items():
            print(
                f"{suite}: {name:9} median {statistics.median(values):.2f} s (min {min(values):.2f}, max {max(values):.2f}, {pairs} runs); "
                f"processor of the controller {statistics.median(processor[name]):.2f} s"
            )
        print(f"{suite}: diagnose / setup  median of paired ratios {paired(seconds):.2f}; of the processor {paired(processor):.2f}")
        print(f"{suite}: controller tasks a host meets {tasks}; facts of the host {size / 1000:.1f} kB")


def paired(taken: dict[str, list[float]]) -> float:
    return statistics.median(one / other for one, other in zip(taken["diagnose"], taken["setup"]))


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as temporary:
        for suite in SUITES:
            bench(suite, Path(temporary), pairs)


if __name__ == "__main__":
    main()
