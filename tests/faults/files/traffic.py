# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to the box through its own nginx: traffic.py post N [emoji] | upload N [large] | get PATH N [stranger].

Each with `parallel` at the end: all at once.
"""

from __future__ import annotations

import http.client
import json
import ssl
import struct
import sys
import threading
import zlib

HEADERS = {"Host": "mastodon.test", "Authorization": "Bearer standin-posting-token"}
LARGE_BYTES = 3 << 20


def picture() -> bytes:
    """A PNG of 64 x 64 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((x * 4 % 256, y * 4 % 256, 128)[i] for x in range(64) for i in range(3)) for y in range(64))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def send(method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> None:
    link = http.client.HTTPSConnection("127.0.0.1", 443, timeout=40, context=ssl._create_unverified_context())
    try:
        link.request(method, path, body, dict(HEADERS, **{"Content-Type": kind}))
        answer = link.getresponse()
        answer.read()
        print(method, path, answer.status)
    except OSError as problem:
        print(method, path, problem)
    finally:
        link.close()


def once(what: list[str]) -> None:
    if "stranger" in what:
        HEADERS.pop("Authorization", None)
    if what[0] == "post":
        text = "\U0001f600 hello" if "emoji" in what else "hello"
        send("POST", "/api/v1/statuses", json.dumps({"status": text}).encode())
    elif what[0] == "upload":
        body = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
            + picture()
            + b"\0" * (LARGE_BYTES if "large" in what else 0)
            + b"\r\n--b--\r\n"
        )
        send("POST", "/api/v2/media", body, "multipart/form-data; boundary=b")
    else:
        send("GET", what[1])


def main() -> None:
    what = sys.argv[1:]
    times = next(int(word) for word in what[1:] if word.isdigit())
    threads = [threading.Thread(target=once, args=(what,)) for _each in range(times)]
    for thread in threads:
        thread.start()
        if "parallel" not in what:
            thread.join()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
