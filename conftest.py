# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make this checkout importable as ansible_collections.fediops.mastodon; leave what is thorough to those who ask for it."""

from __future__ import annotations

import os

from pathlib import Path

import pytest

os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(Path(__file__).parent / ".ansible" / "collections"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="also what is marked as thorough: hours on two cores, for a release")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What nobody asked for is deselected, and counted as that. A test that is named by itself is asked for."""
    if config.getoption("--thorough") or any("::" in argument for argument in config.args):
        return
    left = [item for item in items if item.get_closest_marker("thorough")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
