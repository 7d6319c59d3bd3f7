# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel knows of its clock (private, may change any time). Used on the host and on the controller."""

from __future__ import annotations

import struct

_STA_UNSYNC = 0x40  # linux/timex.h; the kernel sets it when no time service has disciplined the clock for long
_TIMEX_BYTES = 512  # more than struct timex has anywhere
_STATUS_AT = 5 * struct.calcsize("l")  # behind modes, which is padded, and four of type long


def synchronized() -> bool | None:
    """Whether a time service keeps the clock right, by adjtimex(2), which only reads with modes 0; None when it cannot be asked.

    Whichever service it is: chrony, ntpd and systemd-timesyncd all tell the kernel. False is no fault by itself: the clock of a virtual
    machine may be kept by its hypervisor.
    """
    try:
        import ctypes  # some small Pythons come without

        timex = ctypes.create_string_buffer(_TIMEX_BYTES)
        answer = ctypes.CDLL(None).adjtimex(timex)
    except (ImportError, OSError, AttributeError, TypeError):
        return None
    return None if answer < 0 else not struct.unpack_from("i", timex, _STATUS_AT)[0] & _STA_UNSYNC
