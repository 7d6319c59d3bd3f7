# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make this checkout importable as ansible_collections.fediops.mastodon."""

from __future__ import annotations

import os

from pathlib import Path

os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(Path(__file__).parent / ".ansible" / "collections"))
