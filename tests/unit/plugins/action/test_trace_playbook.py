# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trace playbook run for real where there is no Mastodon: what is refused, and what is said of hosts that tell nothing."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest

from ansible_collections.fediops.mastodon.tests.unit.fixtures import ansible_run

ROOT = pathlib.Path(__file__).resolve().parents[4]
SENTENCE = "request_id is what the header X-Request-Id of the answer says"


def play(folder, *arguments):
    # Whatever runs on this machine besides is none of its business.
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "mastodon_root": str(folder)}
    hosts = {
        "here": here,
        "away": {"ansible_host": "192.0.2.1", "ansible_ssh_common_args": "-o ConnectTimeout=1", "ansible_connection": "ssh"},
    }
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": {"mastodon_become": False}}}), encoding="utf-8")
    done = ansible_run.run(
        folder, ROOT / "playbooks/trace.yml", "-i", "inventory.json", "-e", "mastodon_trace_timeout=5", *arguments,
        collections=ROOT / ".ansible" / "collections", ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize("wrong", ["{{ lookup('pipe', 'touch forged') }}", "$(touch forged)"])
def test_a_wrong_id_is_refused_unseen(tmp_path, wrong):
    done = play(tmp_path, "-e", json.dumps({"request_id": wrong}))
    assert done.returncode != 0 and SENTENCE in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "inventory.json"]


def test_the_id_is_asked_for(tmp_path):
    done = play(tmp_path)
    assert done.returncode != 0 and "name the request: -e request_id=ID" in done.stdout


def test_hosts_that_tell_nothing_are_named(tmp_path):
    done = play(tmp_path, "-e", "request_id=6bc0960d-5001-43c3-a7f4-31376ce7a2a7")
    assert done.returncode != 0 and "the logs of 2 of 2 hosts were not wholly read" in done.stdout, done.stdout
    told = json.loads((tmp_path / "mastodon-report" / "trace.json").read_text(encoding="utf-8"))
    assert told["state"] == "unknown" and told["hosts"]["away"]["reason"].startswith("unreachable:")
    assert told["hosts"]["here"]["reason"]
