# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When will a filesystem be full? From a small history of its free bytes (pure; private, may change any time)."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

KEPT_SECONDS = 6 * 3600.0
SPACING_SECONDS = 600.0
LEAST_SECONDS = 5400.0
STEP_SECONDS = 1800.0
LEAST_PERCENT = 0.5
MOST_MOUNTS = 40


def remember(history: Dict[str, List[List[float]]], free: Dict[str, float], now: float) -> Dict[str, List[List[float]]]:
    """The history with the free bytes of now: a sample in ten minutes, of six hours. What is no longer mounted is forgotten."""
    kept: Dict[str, List[List[float]]] = {}
    for mount, available in list(free.items())[:MOST_MOUNTS]:
        samples = [each for each in history.get(mount, []) if now - KEPT_SECONDS <= each[0] <= now]
        if not samples or now - samples[-1][0] >= SPACING_SECONDS:
            samples.append([now, available])
        kept[mount] = samples
    return kept


def hours_until_full(samples: Sequence[Sequence[float]], size_bytes: float) -> Optional[float]:
    """Hours until nothing is free when it goes on like this; None while that cannot be told or nothing is used up.

    The median of what half an hour used up, over six hours: one rotated log or one backup that comes and goes does not move it.
    """
    if len(samples) < 4 or samples[-1][0] - samples[0][0] < LEAST_SECONDS:
        return None
    slopes = []
    at = 0
    for when, free in samples:
        while at + 1 < len(samples) and samples[at + 1][0] <= when - STEP_SECONDS:
            at += 1
        if samples[at][0] <= when - STEP_SECONDS:
            slopes.append((free - samples[at][1]) / (when - samples[at][0]))
    slope = sorted(slopes)[len(slopes) // 2]
    used_up = -slope * (samples[-1][0] - samples[0][0])
    if slope >= 0 or used_up < size_bytes * LEAST_PERCENT / 100:
        return None
    return samples[-1][1] / -slope / 3600
