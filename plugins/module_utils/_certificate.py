# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Until when an X.509 certificate holds, read from its bytes: the standard library tells that only of certificates that it verified.

Private, may change any time. Source: RFC 5280, 4.1 (Validity is the fifth field of TBSCertificate, without the optional version).
"""

from __future__ import annotations

import calendar
import re
import ssl
import time

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s.{1,65536}?-----END CERTIFICATE-----", re.S)
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


def expires_epoch(der: bytes) -> float | None:
    """notAfter of a certificate in DER; None when these bytes are none."""
    try:
        fields = _elements(_inside(_inside(der)))
        if fields and fields[0][0] == _VERSION:
            del fields[0]
        return _moment(*_elements(fields[3][1])[1])
    except (IndexError, ValueError):
        return None


def first_of(pem: str) -> bytes | None:
    """The first certificate of a PEM file in DER, which is the server's own; None when there is none."""
    found = _PEM.search(pem)
    try:
        return ssl.PEM_cert_to_DER_cert(found.group()) if found else None
    except ValueError:
        return None


def _inside(data: bytes) -> bytes:
    tag, value, _end = _element(data, 0)
    if tag != _SEQUENCE:
        raise ValueError
    return value


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        tag, value, at = _element(data, at)
        found.append((tag, value))
    return found


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """(tag, value, offset behind it)."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start:start + size], "big"), start + size
    if start + length > len(data):
        raise ValueError
    return tag, data[start:start + length], start + length


def _moment(tag: int, value: bytes) -> float:
    text = value.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year: 50 to 99 are of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError
    return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))
