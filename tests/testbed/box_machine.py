# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine side of a box: commands, files, logs, databases."""

from __future__ import annotations

import base64
import json
import secrets
import shlex
import time

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from docker.errors import APIError

LIVE = "/home/mastodon/live"
ERROR_LINES = 15
SHELL_PATH = "/home/mastodon/.rbenv/shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BoxError(Exception):
    """One sentence, followed by the lines that explain it."""


class Completed(NamedTuple):
    rc: int
    out: str


@dataclass
class Machine:
    suite: str
    name: str
    container: Any
    stores: str = "127.0.0.1"  # where its PostgreSQL and Redis are

    @property
    def address(self) -> str:
        self.container.reload()
        networks = self.container.attrs["NetworkSettings"]["Networks"].values()
        found = next((network["IPAddress"] for network in networks if network["IPAddress"]), "")
        if not found:
            raise BoxError(f"box {self.name} has no address (state {self.container.status})")
        return str(found)

    def reached_by(self, _folder: Path) -> dict[str, str]:
        """Variables of this host in an inventory, where it is not reached through the engine; a key goes into the folder."""
        return {}

    def run(
        self, command: str | list[str], user: str = "root", check: bool = True, timeout: float = 60, cwd: str = "/",
        env: dict[str, str] | None = None,
    ) -> Completed:
        """Run a command; a string goes to `sh -c`, a list to no shell. Output has stderr in it."""
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        environment = {"LANG": "C.UTF-8", "PATH": SHELL_PATH, **(env or {})}
        try:
            rc, out = self.container.exec_run(
                ["timeout", "-k", "5", str(timeout), *argv], user=user, workdir=cwd, environment=environment
            )
        except APIError as error:
            raise BoxError(f"box {self.name} cannot run {shlex.join(argv)}: {error.explanation}") from error
        done = Completed(rc, out.decode(errors="replace"))
        if check and rc != 0:
            reason = f"took longer than {timeout} s" if rc in (124, 137) else f"ended with {rc}"
            raise BoxError(f"{shlex.join(argv)} {reason} in box {self.name}:\n{tail_of(done.out)}")
        return done

    def mastodon(self, command: str, check: bool = True, timeout: float = 120) -> Completed:
        """Run a command as an administrator would in the app's folder, e.g. `bin/tootctl version`."""
        return self.run(command, "mastodon", check, timeout, LIVE, {"RAILS_ENV": "production", "HOME": "/home/mastodon"})

    def put(self, path: str, text: str | bytes, mode: int = 0o644, owner: str = "root:root") -> None:
        """Write a file, and the folders above it."""
        data = text.encode() if isinstance(text, str) else text
        temporary = f"/tmp/put-{secrets.token_hex(4)}"
        self.run(["touch", temporary])
        # An argument may not be longer than 128 KiB.
        for start in range(0, len(data), 60_000):
            chunk = base64.b64encode(data[start : start + 60_000]).decode()
            self.run(["sh", "-c", 'printf %s "$1" | base64 -d >>"$2"', "put", chunk, temporary])
        user, _, group = owner.partition(":")
        self.run(["install", "-D", "-m", f"{mode:o}", "-o", user, "-g", group or user, temporary, path])
        self.run(["rm", temporary])

    def get(self, path: str) -> str:
        return self.read(path).decode(errors="replace")

    def read(self, path: str) -> bytes:
        """A file as it is. Not by `docker cp`: that does not see /run and, on trixie, /tmp."""
        return base64.b64decode(self.run(["base64", path]).out)

    def journal(self, unit: str | None = None, since: str | None = None, lines: int | None = None) -> str:
        """Messages of a unit, as `journalctl -o cat` prints them."""
        argv = ["journalctl", "--no-pager", "--quiet", "-o", "cat"]
        argv += ["-u", unit] if unit else []
        argv += ["--since", since] if since else []
        argv += ["-n", str(lines)] if lines else []
        return self.run(argv).out

    def now(self) -> str:
        """A time for `since`; whole seconds would mix what happened before and after."""
        return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

    def psql(self, sql: str, database: str = "mastodon_production", check: bool = True) -> str:
        return self.run(["psql", "-XAtq", "-d", database, "-c", sql], "postgres", check).out.strip()

    def redis(self, *arguments: str) -> str:
        return self.run(["redis-cli", "-h", self.stores, *arguments]).out.strip()

    def enqueue(self, worker: str, *arguments: Any, queue: str = "default", count: int = 1) -> None:
        """Give Sidekiq work without Rails, e.g. `enqueue("Standin::SleepWorker", 600, count=60)`."""
        now = time.time()
        jobs = [
            json.dumps({
                "class": worker, "args": list(arguments), "queue": queue, "retry": True, "version": "7.3.2",
                "jid": secrets.token_hex(12), "created_at": now, "enqueued_at": now,
            })
            for _ in range(count)
        ]
        self.redis("sadd", "queues", queue)
        for start in range(0, count, 200):
            self.redis("lpush", f"queue:{queue}", *jobs[start : start + 200])


def by_ssh(address: str, key: Path, options: str = "") -> dict[str, str]:
    """Variables of a host in an inventory that is reached by SSH as root; it is a new one each time."""
    return {
        "ansible_connection": "ssh", "ansible_host": address, "ansible_user": "root", "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null {options}".strip(),
    }  # fmt: skip


def tail_of(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-ERROR_LINES:])
