# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user got wrong. Private to this collection."""

from __future__ import annotations


class Mistake(Exception):
    """One sentence for the user about an option, a variable, a file or a folder: what is wrong with it and where."""
