# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filesystems out of what df says, when nothing else could be run."""

from __future__ import annotations

from ansible_collections.fediops.mastodon.plugins.module_utils import _gather
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _df
from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import FACT_NAMES
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts

# coreutils 9.1 (Debian 12): df -P -k; echo ==; df -P -i
OUTPUT = """Filesystem     1024-blocks     Used Available Capacity Mounted on
udev               4053856        0   4053856       0% /dev
/dev/vda1         20509264 20492880         0     100% /
/dev/vdb1        102626232 51313116  46053752      53% /srv/my files
tmpfs              4070624        0   4070624       0% /dev/shm
==
Filesystem     Inodes  IUsed  IFree IUse% Mounted on
/dev/vda1     1310720 131072 1179648   10% /
/dev/vdb1      655360 655360       0  100% /srv/my files
"""


def test_full_disks_and_inodes():
    root, other = _df.parse(OUTPUT)
    assert (root["mount"], root["full"], root["available_bytes"], root["used_percent"]) == ("/", True, 0, 100.0)
    assert (root["inodes"], root["inodes_full"]) == (1310720, False)
    assert "database" in root["holds"]
    assert (other["mount"], other["full"], other["inodes_full"]) == ("/srv/my files", False, True)


def test_the_diagnosis_still_names_the_full_disk():
    host = hosts.diagnose({"web1": _df.facts(OUTPUT, "no room")})["hosts"]["web1"]
    assert [finding["id"] for finding in host["findings"]] == ["disk_full"]
    assert {entry["reason"] for entry in host["unknown"]} == {"no room"} | {
        entry["reason"] for entry in host["unknown"] if "not known" in entry["reason"]
    }
    assert host["probes"]["disk"]["state"] == "ok"
    assert host["probes"]["database"] == {"state": "failed", "seconds": 0.0, "reason": "no room"}


def test_every_subset_has_its_probe():
    assert sorted(_df.SUBSETS) == sorted(_gather.NAMES)
    assert set(_df.SUBSETS) <= FACT_NAMES


def test_garbage_gives_nothing():
    assert "disk" not in _df.facts("sh: df: not found\n==\n", "no room")


def test_known_messages_of_a_full_disk():
    for message in (
        "mkdir: cannot create directory '/root/.ansible': No space left on device",
        "FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp']",
        "OSError: [Errno 28] No space left on device",
    ):
        assert _df.NO_ROOM.search(message)
    assert not _df.NO_ROOM.search("[Errno 281] Permission denied")
