# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the probe, for the module and for what runs it on the controller (private, may change any time)."""

from __future__ import annotations

import re

from typing import Any

OPTIONS: dict[str, Any] = {
    "token": {"type": "str", "required": True, "no_log": True},
    "url": {"type": "str", "default": ""},
    "address": {"type": "str", "default": ""},
    "ca_path": {"type": "path", "default": ""},
    "validate_certs": {"type": "bool", "default": True},
    "media": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "timeout": {"type": "float", "default": 15},
    "run_from": {"type": "str", "choices": ["controller", "host"], "default": "controller"},
    "state_dir": {"type": "path", "default": ""},
}
_TOKEN = re.compile(r"[!-~]{1,512}\Z")
_ADDRESS = re.compile(r"[0-9A-Za-z.:_-]{0,253}\Z")


def mistake(options: dict[str, Any]) -> str:
    """What is wrong with the values of the options, as one sentence that never quotes the token; empty when nothing is."""
    if not _TOKEN.match(options["token"]):
        return "token is the access token of an application, one word of ASCII characters; it is empty or holds others"
    if not _ADDRESS.match(options["address"]):
        return "address is the name or IP address to connect to, not %r" % options["address"][:80]
    if not 1 <= options["timeout"] <= 120:
        return "timeout is a number of seconds between 1 and 120, not %s" % options["timeout"]
    return ""
