# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two hosts have the same secret, without either telling it (private, may change any time).

The controller makes a random key for each run, gives it to every host of it and keeps it nowhere. A fingerprint is the beginning of the
HMAC-SHA-256 of name and value under that key: equal secrets have equal fingerprints within one run, and without the key nothing can be
tried against them, nor the fingerprints of two runs be compared.
"""

from __future__ import annotations

import hmac
import re

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY = re.compile(r"[0-9a-f]{64}\Z")
LENGTH = 12  # hex digits: 48 bits, so that different secrets that look alike are out of the question, and little is told
RUN = "run"  # its fingerprint names the key; no environment variable of Mastodon's is called like that


def fingerprints(key: str, environment: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Fingerprint by name of what the environment defines, and under `run` which key they were made with. key: 64 hex digits."""
    secret = bytes.fromhex(key)
    found = {name: _of(secret, name, environment[name]) for name in sorted(set(names)) if environment.get(name)}
    return dict(found, **{RUN: _of(secret, RUN, "")})


def _of(secret: bytes, name: str, value: str) -> str:
    # The name counts too: that two keys of one server hold the same value is nobody's business.
    return hmac.new(secret, (name + "\0" + value).encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:LENGTH]
