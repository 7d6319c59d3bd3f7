# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written anew has the label of SELinux that the old one had, and the way back has it too.

The kernel of a testbed need not know SELinux: it keeps the label as an attribute all the same, only nobody asks for it.
"""

from __future__ import annotations

from pathlib import Path

from live import Box
from one_fix import apply, plant, roll_back

LIVE = "/home/mastodon/live"
SETTINGS, PACKS = f"{LIVE}/.env.production", f"{LIVE}/public/packs"
LABEL, SERVED = "system_u:object_r:user_home_t:s0", "system_u:object_r:httpd_sys_content_t:s0"
SET = "import os, sys; [os.setxattr(path, 'security.selinux', sys.argv[1].encode() + b'\\0') for path in sys.argv[2:]]"
GET = """
import os, sys
for path in sys.argv[1:]:
    known = "security.selinux" in os.listxattr(path)
    print(os.getxattr(path, "security.selinux").decode().rstrip("\\0") if known else "none of " + path)
"""


def label(box: Box, text: str, *paths: str) -> None:
    box.run(["python3", "-c", SET, text, *paths])


def labels(box: Box, path: str) -> set[str]:
    """Of a file, or of a directory and all that is in it."""
    return set(box.run(["python3", "-c", GET, *box.run(["find", path]).out.split()]).out.splitlines())


def test_labels_stay(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        # A label is a change of the inode, and so its time tells when packs came here: before the fault.
        label(box, SERVED, *box.run(["find", PACKS]).out.split())
        plant(box, tmp_path / "level", "log_level_debug")
        plant(box, tmp_path / "packs", "assets_not_rebuilt")
        label(box, LABEL, SETTINGS)
        before = box.get(SETTINGS)

        step, level = apply(box, tmp_path / "1", "reset_log_level")
        assert step["state"] == "kept" and box.get(SETTINGS) != before and labels(box, SETTINGS) == {LABEL}, step
        step, packs = apply(box, tmp_path / "2", "rebuild_assets")
        assert (step["state"], labels(box, PACKS)) == ("kept", {SERVED}), step

        assert roll_back(box, tmp_path / "3", packs)["state"] == "rolled_back" and labels(box, PACKS) == {SERVED}
        assert roll_back(box, tmp_path / "4", level)["state"] == "rolled_back"
        assert box.get(SETTINGS) == before and labels(box, SETTINGS) == {LABEL}
