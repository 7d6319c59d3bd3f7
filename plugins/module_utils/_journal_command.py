# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of journalctl (private, may change any time)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

JOURNAL_FIELDS = ("MESSAGE", "_SYSTEMD_UNIT", "UNIT", "SYSLOG_IDENTIFIER", "_PID", "_TRANSPORT")


def journal_arguments(units: Iterable[str], since_epoch: float, lines: int, options: Sequence[str] = ()) -> list[str]:
    """Command line of the one journalctl call.

    Kernel lines of priority 4 and 5 are left out: packet filters log there by the million, the OOM killer does not.
    """
    names = sorted(set(units))
    words = ["journalctl", "-o", "export", "--no-pager", "-q", "--since=@%.6f" % since_epoch, "--lines=%d" % lines,
             "--output-fields=" + ",".join(JOURNAL_FIELDS), *options]
    if names:
        words += ["_SYSTEMD_UNIT=" + name for name in names] + ["+", "_PID=1"] + ["UNIT=" + name for name in names] + ["+"]
    return words + ["_TRANSPORT=kernel"] + ["PRIORITY=%d" % level for level in (0, 1, 2, 3, 6)]
