# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What servers say about us, made fit to be shown: a server may repeat what it was sent, passwords included."""

from __future__ import annotations

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv import UNKNOWN_VALUE
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import secrets
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import MASK, Redactor


def harmless(text: str, install: dict[str, Any], *more: str) -> str:
    """One line of at most 300 characters without any secret known of the install, nor those given besides."""
    known = [value for value in [*secrets(install), *more] if len(value) >= 4]
    # The redactor of log lines leaves short values alone; in the few words of an error message they must go too.
    for value in sorted(known, key=len, reverse=True):
        text = text.replace(value, MASK)
    return Redactor(known).clean(text, 300)


def is_url(host: str) -> bool:
    """Whether a setting that should name a host holds a URL or credentials: then it must neither be shown nor connected to."""
    return "://" in host or "@" in host


def demand_known(install: dict[str, Any], *starts: str) -> None:
    """HostError when a setting whose name begins so is the output of a command in a dotenv file: its text would be a guess."""
    for name, each in install["_files"].items():
        for key, value in each.get("keys", {}).items():
            if not key.startswith(starts) or install["_environment"].get(key) != value:
                continue
            said = UNKNOWN_VALUE % key
            if any(reason == said for _line, reason in each["problems"]):
                raise HostError("in %s %s" % (name, said))
