# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A box with a kernel, and so a clock, of its own: the same files as the disk of a virtual machine, which is in a container.

    with VirtualMachine.start("trixie") as machine:
        machine.run("date -s '+2 hours'")

Without the processor's help (TCG), so that it runs on any amd64: up in a minute and a half. Reached by SSH as a server is.
"""

from __future__ import annotations

import shlex
import subprocess
import time

from pathlib import Path
from typing import Any

from box import Box, BoxError, Completed
from box_machine import SHELL_PATH, by_ssh

HERE = Path(__file__).resolve().parent
KEY = "/root/.ssh/id_ed25519"


class VirtualMachine(Box):
    @classmethod
    def start(cls, suite: str, **options: Any) -> VirtualMachine:
        """Up: it answers by SSH. `options` are those of a box."""
        built = subprocess.run([HERE / "build", suite], stdout=subprocess.PIPE, text=True, timeout=900, check=False)
        if built.returncode:
            raise BoxError(f"there is no image of a virtual machine of {suite}")
        machine = cls.of_image(built.stdout.strip(), suite, **options)
        try:
            machine.wait_for_ssh()
        except BaseException:
            machine.remove()
            raise
        return machine

    def run(
        self, command: str | list[str], user: str = "root", check: bool = True, timeout: float = 60, cwd: str = "/",
        env: dict[str, str] | None = None,
    ) -> Completed:
        """The same by SSH from the container around it."""
        argv = ["sh", "-c", command] if isinstance(command, str) else command
        settings = {"LANG": "C.UTF-8", "PATH": SHELL_PATH, **(env or {})}
        environment = ["env", "-C", cwd, *(f"{key}={value}" for key, value in settings.items())]
        inside = shlex.join(["runuser", "-u", user, "--", *environment, "timeout", "-k", "5", str(timeout), *argv])
        return super().run(["ssh", "-T", "guest", inside], check=check, timeout=timeout + 10)

    def wait_for_ssh(self, timeout: float = 300) -> None:
        deadline = time.monotonic() + timeout
        while self.run(["true"], check=False).rc != 0:
            if time.monotonic() > deadline:
                raise BoxError(f"the machine {self.name} does not answer by SSH:\n{self.container.logs(tail=20).decode(errors='replace')}")
            time.sleep(1)

    def reached_by(self, folder: Path) -> dict[str, str]:
        key = folder / "machine.key"
        key.write_text(super().run(["cat", KEY]).out)
        key.chmod(0o600)
        # It is reset while somebody waits for it, and in the playbooks of tests others come before this collection.
        return by_ssh(self.address, key, "-o ServerAliveInterval=15")
