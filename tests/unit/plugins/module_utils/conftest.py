# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of more than one file."""

from __future__ import annotations

from ansible_collections.fediops.mastodon.tests.unit.fixtures.runs import files  # noqa: F401
