# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says of a damaged filesystem has no name here, and is shown all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from live import Box, diagnose

# A directory's only block is overwritten behind the back of the kernel, which finds out when somebody looks into it.
DAMAGED = """
set -e
truncate -s 16M /var/tmp/odd.img
mkfs.ext4 -q -b 1024 /var/tmp/odd.img
device=$(losetup -f | cut -d" " -f1)
test -b "$device" || mknod "$device" b 7 "${device#/dev/loop}"
losetup "$device" /var/tmp/odd.img
trap 'umount /mnt; losetup -d "$device"' EXIT
mount "$device" /mnt; mkdir /mnt/folder; touch /mnt/folder/one; umount /mnt
dd if=/dev/urandom of="$device" bs=1024 seek="$(debugfs -R 'blocks /folder' "$device" 2>/dev/null | tr -d ' ')" count=1 status=none
mount -o errors=continue "$device" /mnt
ls /mnt/folder || true
"""


@pytest.mark.thorough
def test_a_damaged_filesystem_is_shown(tmp_path: Path) -> None:
    with Box.start("trixie", kmsg=True, loop=True) as box:
        box.ready()
        box.run(DAMAGED)
        assert "EXT4-fs error" in box.run("journalctl -k -q --since=-1min -o cat").out
        diagnosis, output = diagnose(box, tmp_path)
        host = diagnosis["hosts"][box.name]
        shown = [each["message"] for each in host["unclassified"] if each["origin"] == "kernel"]
        assert any("EXT4-fs error" in each for each in shown), host
        assert "1 unclassified error" in output and "EXT4-fs error" in output, output[-2000:]
