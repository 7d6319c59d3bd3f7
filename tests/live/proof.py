# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cured server must show, and what a server that nobody touched must still look like."""

from __future__ import annotations

import json
import re
import struct
import time
import zlib

from typing import Any

from live import Box

# What servers write by themselves while they run.
VOLATILE = (
    "/etc/mtab /home/mastodon/live/tmp /home/mastodon/live/log /home/mastodon/live/public/system /home/mastodon/.cache /etc/ld.so.cache "
    "/etc/systemd/system/timers.target.wants /home/mastodon/.bundle /home/mastodon/.local"
).split()
PICTURE = """
import hashlib, json, os, subprocess, sys
skipped, seen = set(sys.argv[1].split()), {}
for top in ("/etc", "/home/mastodon", "/usr/local", "/var/spool/cron", "/root"):
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if folder + "/" + name not in skipped and name not in ("node_modules", "__pycache__"))
        for name in folders + files:
            path = folder + "/" + name
            if path in skipped:
                continue
            status = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else ""
            if not content and os.path.isfile(path):
                with open(path, "rb") as stream:
                    content = hashlib.sha256(stream.read()).hexdigest()
            seen[path] = [status.st_uid, status.st_gid, oct(status.st_mode), content]
seen["packages"] = hashlib.sha256(subprocess.run(["dpkg-query", "-W"], capture_output=True).stdout).hexdigest()
names = ["mastodon-*", "nginx", "redis-server", "postgresql@*", "pgbouncer"]
asked = [*names, "-p", "Id,ActiveState,MainPID,NRestarts,ExecMainStartTimestampMonotonic"]
units = subprocess.run(["systemctl", "show", *asked], capture_output=True, text=True).stdout
if len(sys.argv) > 2:
    # One that systemd starts again and again changes by itself.
    seen["units"] = sorted(block.strip() for block in units.split("\\n\\n") if "NRestarts=0" in block)
print(json.dumps(seen))
"""


def png(width: int = 16, height: int = 16) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x63\x64\xff" * width for _row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def picture(box: Box, units: bool = True) -> dict[str, Any]:
    """Owner, mode and content of every file that a fix could touch, the packages, and (units) which process runs since when."""
    box.put("/run/picture.py", PICTURE)
    arguments = ["python3", "/run/picture.py", " ".join(VOLATILE), *(["units"] if units else [])]
    seen: dict[str, Any] = json.loads(box.run(arguments).out)
    return seen


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [f"{path}: {before.get(path)} -> {after.get(path)}" for path in sorted({*before, *after}) if before.get(path) != after.get(path)]


def prove(box: Box) -> None:
    """A post with a picture, an emoji and a non-Latin script through nginx is accepted, its job done; pages have their styles."""
    box.ready()
    answer = box.upload(png(), "pixel.png", api="v1" if box.suite == "bookworm" else "v2")
    assert answer.status == 200, (answer.status, answer.body[:500])
    media = json.loads(answer.body)["id"]
    posted = box.post("proof \U0001f418 \u8c61", media_ids=[media])
    assert posted.status == 200, (posted.status, posted.body[:500])
    number = json.loads(posted.body)["id"]
    deadline = time.monotonic() + 30
    while not any(status["id"] == number for status in json.loads(box.get_page("/api/v1/timelines/home").body)):
        assert time.monotonic() < deadline, "the job of the post is not done"
        time.sleep(0.1)
    page = box.get_page("/")
    styles = re.findall(r'href="([^"]+\.css)"', page.body)
    assert page.status == 200 and styles, (page.status, page.body[:500])
    for style in styles:
        assert box.get_page(re.sub(r"^https?://[^/]+", "", style)).status == 200, style
