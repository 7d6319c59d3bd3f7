# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel knows of its clock (private, may change any time). Used on the host and on the controller."""

from __future__ import annotations

import ctypes

_STA_UNSYNC = 0x40  # linux/timex.h; the kernel sets it when no time service has disciplined the clock for long
_AFTER_STATUS_BYTES = 256  # more than the rest of struct timex has anywhere


class _Timex(ctypes.Structure):
    _fields_ = [("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
                ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * _AFTER_STATUS_BYTES)]


def synchronized() -> bool | None:
    """Whether a time service keeps the clock right, by adjtimex(2), which only reads with modes 0; None when it cannot be asked.

    Whichever service it is: chrony, ntpd and systemd-timesyncd all tell the kernel. False is no fault by itself: the clock of a virtual
    machine may be kept by its hypervisor.
    """
    state = _Timex()
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.byref(state))
    except (OSError, AttributeError, TypeError):
        return None
    return None if answer < 0 else not state.status & _STA_UNSYNC
