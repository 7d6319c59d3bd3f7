# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waivers in files of a directory: read like those of the variable, and each mistake is told with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake
from ansible_collections.fediops.mastodon.plugins.plugin_utils._waivers import read_waivers

KNOWN = ("disk_full", "redis_down")
ONE = "- {id: disk_full, reason: known, until: 2025-11-20}\n"


def test_lists_and_variables_of_several_files_join_those_of_the_play(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(ONE)
    (tmp_path / "b.yml").write_text('mastodon_waivers:\n  - {id: redis_down, reason: moved, until: "2025-11-21", host: web*}\n')
    (tmp_path / "notes.txt").write_text("not read")
    waivers = read_waivers([{"id": "redis_down", "reason": "here", "until": "2025-11-22"}], KNOWN, [str(tmp_path)])
    assert [(one.id, one.until, one.host) for one in waivers] == [
        ("redis_down", "2025-11-22", "*"), ("disk_full", "2025-11-20", "*"), ("redis_down", "2025-11-21", "web*"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id: disk_full\n", "must be a list of {id, reason, until}"),
        (ONE + "- {id: disk_ful, reason: known, until: 2025-11-20}\n", '[1]: "disk_ful" is not the id of a known issue'),
        ("- {id: disk_full, until: 2025-11-20}\n", "[0]: reason is missing"),
        ("- {id: disk_full, reason: a, reason: b, until: 2025-11-20}\n", 'key "reason": is given twice (line 1)'),
        ("- [\n", "is not valid YAML"),
        ("- \xff".encode("latin-1"), "is not UTF-8"),
        ("- {id: [disk_full], reason: a, until: 2025-11-20}\n", "is not the id of a known issue"),
        ("- {id: disk_full, reason: &a [b], until: *a}\n", "holds an alias"),
        ("3", "must be a list"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str | bytes, told: str) -> None:
    path = tmp_path / "mine.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Mistake) as error:
        read_waivers([], KNOWN, [str(tmp_path)])
    assert str(path) in str(error.value) and told in str(error.value) and "\n" not in str(error.value)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="directory of waivers .*gone cannot be read: No such file"):
        read_waivers([], KNOWN, [str(tmp_path / "gone")])
