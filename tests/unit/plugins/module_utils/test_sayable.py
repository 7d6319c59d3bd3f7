# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name of a file whose bytes are no text costs a character of the result, and not all of it."""

from __future__ import annotations

import json
import os

from pathlib import Path

from ansible_collections.fediops.mastodon.plugins.module_utils._gather import gather


def test_names_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path) + b"/live-\xe9"
    os.makedirs(root + b"/lib/mastodon")
    facts = gather(["install"], 10, 60, os.fsdecode(root), {})
    told = json.dumps(facts, ensure_ascii=False).encode()
    assert b"/live-?" in told
