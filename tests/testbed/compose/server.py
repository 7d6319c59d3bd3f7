# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A box whose Mastodon is a compose project: its own systemd and nginx, an engine of its own, and the containers in there.

    with Server.start("trixie") as server:
        server.compose("stop", "streaming")

What it costs: an engine as a layer over the box's image, once, and 25 seconds a box to hand over the image of the containers.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
import time

from pathlib import Path
from typing import Any

from box import Box, BoxError
from project import APP, BASE, HERE, OWNER, as_lines, compose_variables, image, production_keys, run

DIRECTORY = "/srv/mastodon"


@functools.cache
def server_image(suite: str) -> str:
    """Build the image of a suite, in seconds when nothing changed; its name without the tag."""
    files = Path(run(HERE / "tool", "engine", suite, timeout=180).strip().splitlines()[-1])
    name = f"{BASE}-compose/server"
    given = ["--build-arg", f"SUITE={suite}", "--build-arg", f"IMAGE={BASE}"]
    with tempfile.TemporaryDirectory(dir=files.parent) as context:
        shutil.copytree(HERE / "server", context, dirs_exist_ok=True)
        shutil.copytree(files, f"{context}/files", symlinks=True, copy_function=os.link)
        run("docker", "build", "-q", *given, "-t", f"{name}:{suite}", context, timeout=300, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    return name


class Server(Box):
    settings, settings_mode, settings_owner = f"{DIRECTORY}/.env.production", 0o600, "root:root"

    @classmethod
    def start(cls, suite: str, **options: Any) -> Server:
        """Up and ready: a post was accepted through nginx and its job is done. `options` are those of a box."""
        name, inner = server_image(suite), image(suite)
        box = cls.of_image(f"{name}:{suite}", suite, engine=True, **options)
        try:
            if options.get("kmsg"):
                # Here systemd has the controller of devices too, and cannot allow char-* in a container that was given a few.
                box.put("/etc/systemd/system/systemd-journald.service.d/kmsg.conf", "[Service]\nDeviceAllow=/dev/kmsg rw\n")
                box.run("systemctl daemon-reload; systemctl restart systemd-journald")
            box.wait_for_engine()
            box.load(inner)
            box.put(f"{DIRECTORY}/docker-compose.yml", (HERE / "docker-compose.yml").read_text())
            box.put(f"{DIRECTORY}/.env", compose_variables(suite, 3000, 4000, f"{DIRECTORY}/public/system"))
            box.put(box.settings, as_lines(production_keys()), box.settings_mode)
            box.run(["chown", f"{OWNER}:{OWNER}", f"{DIRECTORY}/public/system"])
            box.compose("up", "-d")
            box.ready()
        except BaseException:
            box.remove()
            raise
        return box

    def compose(self, *words: str, check: bool = True) -> str:
        """docker compose in the project's directory."""
        return self.run(["docker", "compose", *words], check=check, timeout=120, cwd=DIRECTORY).out

    def wait_for_engine(self, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while self.run(["docker", "info"], check=False).rc != 0:
            if time.monotonic() > deadline:
                raise BoxError(f"the engine of box {self.name} does not answer:\n{self.journal('docker')[-2000:]}")
            time.sleep(0.3)

    def wait_for_services(self, timeout: float = 180) -> bool:
        """Wait until every health check is well."""
        template = "{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}"
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            states = self.run(f"docker inspect -f '{template}' $(docker ps -aq)", check=False).out.split()
            if len(states) >= len(APP) + 2 and set(states) == {"healthy"}:
                return True
            time.sleep(0.3)
        return False

    def load(self, name: str) -> None:
        """Hand the image of the containers over to the engine of the box."""
        wanted = [f"{name}:v{self.version}", f"{name}-streaming:v{self.version}"]
        with subprocess.Popen(["docker", "save", *wanted], stdout=subprocess.PIPE) as save:
            done = subprocess.run(["docker", "exec", "-i", self.name, "docker", "load"], stdin=save.stdout, capture_output=True, text=True,
                                  timeout=300, check=False)  # fmt: skip
        if done.returncode or save.returncode:
            raise BoxError(f"box {self.name} got no image of the containers: {done.stderr.strip() or done.stdout.strip()}")
