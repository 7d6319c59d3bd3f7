# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The diagnosis as JSON. Private to this collection."""

from __future__ import annotations

import json

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.view import Diagnosis


def render(diagnosis: Diagnosis) -> str:
    return json.dumps(diagnosis, indent=2, ensure_ascii=False) + "\n"
