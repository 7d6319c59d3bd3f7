# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between Mastodon versions (private, may change any time).

Source: the fact sheet's version matrix, read from upstream's Gemfile, config/sidekiq.yml, lib/tasks/db.rake and config/initializers.
"""

from __future__ import annotations

import re

from typing import NamedTuple


class Rules(NamedTuple):
    """Facts of one release line."""

    queues: tuple[str, ...]
    required_keys: tuple[str, ...]
    minimum_postgresql: int
    minimum_redis: str
    bundler: str
    pool_follows_sidekiq: bool
    largest_upload_bytes: int


_ENCRYPTION = ("ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY", "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY",
               "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT")


def rules(number: tuple[int, ...]) -> Rules:
    """Rules of version (major, minor, …); what is newer than we know is treated like the newest."""
    at = tuple(number[:2])
    queues = ["default", "push", "mailers", "pull", "scheduler"]
    if at >= (4, 0):
        queues.insert(2, "ingress")
    if at >= (4, 4):
        queues.append("fasp")
    keys = ["SECRET_KEY_BASE"]
    if at < (4, 4):
        keys.append("OTP_SECRET")
    if at >= (4, 3):
        keys.extend(_ENCRYPTION)
    postgresql = 14 if at >= (4, 5) else 13 if at >= (4, 4) else 12 if at >= (4, 3) else 9
    redis = "7.0" if at >= (4, 5) else "6.2" if at >= (4, 4) else "4.0"
    return Rules(tuple(queues), tuple(keys), postgresql, redis, "vite" if at >= (4, 4) else "webpacker", at >= (4, 3),
                 (99 if at >= (4, 2) else 40) << 20)  # a video


def image_library(number: tuple[int, ...], use_libvips: str) -> str:
    """imagemagick or libvips: what this release makes thumbnails with, given the value of MASTODON_USE_LIBVIPS ("" when unset)."""
    at = tuple(number[:2])
    if at >= (4, 6):
        return "libvips"
    if at >= (4, 4):
        return "imagemagick" if use_libvips == "false" else "libvips"
    if at >= (4, 3):
        return "libvips" if use_libvips == "true" else "imagemagick"
    return "imagemagick"


_METHOD = re.compile(r"def\s+(major|minor|patch|default_prerelease|flags|suffix)\s*\n\s*['\"]?([\w.+-]*)['\"]?\s*\n")


def parse_version(text: str) -> tuple[str, tuple[int, ...]] | None:
    """(string, numbers) from lib/mastodon/version.rb, without running it; None when it does not look like that file."""
    found = dict(_METHOD.findall(text))
    try:
        number = tuple(int(found[part]) for part in ("major", "minor", "patch"))
    except (KeyError, ValueError):
        return None
    string = ".".join(str(part) for part in number)
    if found.get("default_prerelease"):
        string += "-" + found["default_prerelease"]
    elif found.get("flags") or found.get("suffix"):
        string += found.get("flags", "") + found.get("suffix", "")
    return string, number
