# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host keeps the runs of its remediation, and what is one (docs/remediation.md §2; private, may change any time).

Shared by the journal, which writes them, and the subset remediation, which must not carry the code that writes.
"""

from __future__ import annotations

import json
import re

from typing import Any

PLACES = ("/var/lib/fediops.mastodon", "/run/fediops.mastodon")
KEPT_RUNS = 20
MAX_RUN_BYTES = 1 << 20
_ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[0-9a-f]{4,12}")


def is_run_id(text: str) -> bool:
    return bool(_ID.fullmatch(text))


def run_of(data: bytes) -> dict[str, Any] | None:
    """The content of a run.json; None when it is none."""
    try:
        run = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return run if isinstance(run, dict) and run.get("schema") == 1 and isinstance(run.get("steps"), list) else None
