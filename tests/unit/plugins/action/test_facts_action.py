# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller side of mastodon_facts where a playbook cannot easily bring it: hosts without any room, modules that die."""

from __future__ import annotations

import types

import pytest

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.fediops.mastodon.plugins.action import mastodon_facts
from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts

DF = """Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/vda1         20509264 20492880         0     100% /
==
Filesystem     Inodes  IUsed  IFree IUse% Mounted on
/dev/vda1     1310720 131072 1179648   10% /
"""
STDERR = "Traceback (most recent call last):\n  File x\n"
STDERR += "FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp']\n"


def action(answer, df=DF, arguments=None):
    """The action with a connection that answers as told."""
    module = object.__new__(mastodon_facts.ActionModule)
    module._task = types.SimpleNamespace(args=arguments or {})
    module._templar = types.SimpleNamespace(template=lambda value: value)
    module.asked = {}

    def execute(module_name, module_args, task_vars):
        module.asked = module_args
        if isinstance(answer, Exception):
            raise answer
        return answer

    module._execute_module = execute
    module._low_level_execute_command = lambda command, sudoable: {"rc": 0, "stdout": df, "stderr": ""}
    return module


def test_signatures_come_from_the_catalogue(tmp_path, monkeypatch):
    monkeypatch.setattr(mastodon_facts._run_folder, "_folder", lambda: tmp_path)
    catalogue = hosts.catalogue()
    monkeypatch.setattr(mastodon_facts._catalogue, "load", lambda directories: catalogue)
    module = action(
        {"ansible_facts": {"mastodon": hosts.healthy()}, "changed": False}, arguments={"known_issues_dirs": [], "gather_timeout": 5}
    )
    result = module._facts({})
    assert module.asked["signatures"]["disk_full.pg_diskfull"]["match"] == "PG::DiskFull"
    assert set(module.asked) == {"signatures", "gather_timeout", "fingerprint_key"}
    assert result["ansible_facts"]["mastodon"]["seconds"] >= 0
    kept = {path.name.split("-")[1] for path in tmp_path.iterdir()}
    assert kept == {"catalogue", "signatures", "secret"}  # for the other hosts
    assert module.asked["fingerprint_key"] == mastodon_facts._run_folder.secret("fingerprints")


@pytest.mark.parametrize(
    "answer",
    [
        {"failed": True, "msg": "No start of json char found\nSee stdout/stderr", "module_stderr": STDERR, "rc": 1},
        {"failed": True, "msg": "MODULE FAILURE", "module_stderr": "OSError: [Errno 28] No space left on device", "rc": 1},
        AnsibleConnectionFailure("mkdir: cannot create directory '/root/.ansible': No space left on device"),
    ],
)
def test_without_room_the_disk_is_still_named(answer):
    result = action(answer)._run_module({}, {})
    facts = result["ansible_facts"]["mastodon"]
    assert not result.get("failed")
    assert facts["disk"]["filesystems"][0]["full"] is True
    assert facts["probes"]["database"]["state"] == "failed"
    assert "no room for a temporary file" in facts["probes"]["database"]["reason"]
    host = hosts.diagnose({"web1": facts})["hosts"]["web1"]
    assert [finding["id"] for finding in host["findings"]] == ["disk_full"]


def test_without_room_and_without_df_it_fails_in_one_sentence():
    result = action({"failed": True, "msg": "x", "module_stderr": STDERR}, df="")._run_module({}, {})
    assert result["failed"] is True
    assert "\n" not in result["msg"]


def test_a_host_that_cannot_be_reached_stays_unreachable():
    with pytest.raises(AnsibleConnectionFailure):
        action(AnsibleConnectionFailure("no route to host"))._run_module({}, {})


def test_a_module_that_died_tells_its_last_line():
    stderr = "Traceback (most recent call last):\n  File x\nMemoryError: out of memory\n"
    result = action({"failed": True, "msg": "MODULE FAILURE\nSee stdout/stderr", "module_stderr": stderr, "rc": 1})._run_module({}, {})
    assert result["msg"] == "the module could not run: MemoryError: out of memory"


def test_a_failure_of_the_module_itself_is_passed_on():
    answer = {"failed": True, "msg": "there is no subset 'disc'"}
    assert action(answer)._run_module({}, {}) == answer


def test_recorded_facts_that_are_too_large_are_called_so(tmp_path, monkeypatch):
    monkeypatch.setattr(mastodon_facts, "MAX_RECORDED_BYTES", 2)
    (tmp_path / "facts.json").write_text("{  }", encoding="utf-8")
    with pytest.raises(Mistake, match=r"facts\.json are larger than 2 bytes$"):
        mastodon_facts._recorded(str(tmp_path / "facts.json"))
