# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in Mastodon that docker compose runs on this machine's engine, for tests.

    with Project.start("trixie", 2, folder) as project:
        project.compose("stop", "redis")

The containers are of the testbed's image without its systemd: real Puma, Sidekiq, Node, PostgreSQL and Redis, one in each.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from box import DB_PASSWORD, DOMAIN, TOKEN, VERSIONS  # noqa: E402

BASE = os.environ.get("FEDIOPS_TESTBED_IMAGE", "fediops-testbed")
OWNER = 991
APP = ("web", "sidekiq", "streaming")


def run(*command: str | Path, timeout: float = 120, check: bool = True, **settings: Any) -> str:
    done = subprocess.run(list(map(str, command)), text=True, capture_output=True, timeout=timeout, check=False, **settings)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


@functools.cache
def image(suite: str) -> str:
    """Build the image of a suite, in a second when nothing changed; its name without the tag."""
    name, version = f"{BASE}-compose/mastodon", VERSIONS[suite]
    given = [word for pair in (f"SUITE={suite}", f"IMAGE={BASE}", f"VERSION={version}") for word in ("--build-arg", pair)]
    command = ["docker", "build", "-q", *given, "-t", f"{name}:v{version}", "-f", str(HERE / "Dockerfile"), str(HERE)]
    run(*command, timeout=300, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    run("docker", "tag", f"{name}:v{version}", f"{name}-streaming:v{version}")
    return name


def production_keys() -> dict[str, str]:
    """What .env.production says at first."""
    keys = {name: secrets.token_hex(16) for name in ("PRIMARY_KEY", "DETERMINISTIC_KEY", "KEY_DERIVATION_SALT")}
    return {
        "LOCAL_DOMAIN": DOMAIN, "SECRET_KEY_BASE": secrets.token_hex(64), "OTP_SECRET": secrets.token_hex(64),
        **{f"ACTIVE_RECORD_ENCRYPTION_{name}": value for name, value in keys.items()},
        "VAPID_PRIVATE_KEY": secrets.token_hex(22), "VAPID_PUBLIC_KEY": secrets.token_hex(44),
        "DB_HOST": "db", "DB_PORT": "5432", "DB_NAME": "mastodon_production", "DB_USER": "mastodon", "DB_PASS": DB_PASSWORD,
        "REDIS_HOST": "redis", "REDIS_PORT": "6379", "SMTP_SERVER": "localhost", "SMTP_FROM_ADDRESS": f"notifications@{DOMAIN}",
    }  # fmt: skip


def compose_variables(suite: str, web_port: int, streaming_port: int, media: Path | str) -> str:
    """The `.env` of the compose file, for the image of a suite."""
    name, version = image(suite), VERSIONS[suite]
    told = {"IMAGE": f"{name}:v{version}", "STREAMING_IMAGE": f"{name}-streaming:v{version}", "WEB_PORT": web_port,
            "STREAMING_PORT": streaming_port, "MEDIA": media, "SIDEKIQ": 7 if suite == "trixie" else 6}  # fmt: skip
    return as_lines(told)


def as_lines(told: Mapping[str, object]) -> str:
    return "".join(f"{key}={value}\n" for key, value in told.items())


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Project:
    def __init__(self, suite: str, generation: int, folder: Path, media: Path | None = None) -> None:
        self.suite, self.generation, self.folder = suite, generation, folder
        self.version = VERSIONS[suite]
        self.name = f"fedi{secrets.token_hex(3)}"
        self.directory = folder / self.name
        self.media = media or self.directory / "public" / "system"
        self.web_port, self.streaming_port = free_port(), free_port()
        self._tool = run(HERE / "tool", str(generation), timeout=180).strip().splitlines()[-1]

    @classmethod
    def start(cls, suite: str, generation: int, folder: Path, media: Path | None = None, **environment: str) -> Project:
        """Up and ready: a post was accepted and its job is done. `environment` goes into .env.production."""
        project = cls(suite, generation, folder, media)
        project.directory.mkdir(parents=True)
        project.media.mkdir(parents=True, exist_ok=True)
        os.chown(project.media, OWNER, OWNER)
        (project.directory / "docker-compose.yml").write_text((HERE / "docker-compose.yml").read_text())
        (project.directory / ".env").write_text(compose_variables(suite, project.web_port, project.streaming_port, project.media))
        project.write_env(**{**production_keys(), **environment})
        try:
            project.compose("up", "-d")
            project.ready()
        except BaseException:
            project.remove()
            raise
        return project

    def write_env(self, **keys: str) -> None:
        path = self.directory / ".env.production"
        held = dict(line.split("=", 1) for line in path.read_text().splitlines()) if path.exists() else {}
        path.write_text(as_lines({**held, **keys}))
        path.chmod(0o600)

    def compose(self, *words: str, timeout: float = 120, check: bool = True) -> str:
        """docker compose of this generation, in the project's directory."""
        return run(self._tool, *words, timeout=timeout, check=check, cwd=self.directory)

    def container(self, service: str) -> str:
        """Name of the container of a service."""
        mark = "_" if self.generation == 1 else "-"
        return mark.join((self.name, service, "1"))

    def inspect(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run("docker", "inspect", self.container(service)))[0]
        return found

    def run(self, service: str, *command: str, user: str = "", check: bool = True) -> str:
        """A command in a running container."""
        return run("docker", "exec", *(["-u", user] if user else []), self.container(service), *command, check=check)

    def http(self, path: str, body: dict[str, Any] | None = None, timeout: float = 30) -> tuple[int, str]:
        headers = {"Host": DOMAIN, "X-Forwarded-Proto": "https", "Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.web_port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def post(self, text: str, timeout: float = 5) -> int:
        """Status of an attempt to publish a post; 0 when nobody answers in time."""
        with contextlib.suppress(OSError):
            return self.http("/api/v1/statuses", {"status": text}, timeout)[0]
        return 0

    def ready(self, timeout: float = 90) -> None:
        """Wait until every health check is well and a post is accepted."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            states = {service: self.inspect(service)["State"] for service in ("db", "redis", *APP)}
            if all((state.get("Health") or {}).get("Status") == "healthy" for state in states.values()) and self.post("ready?") == 200:
                return
            time.sleep(0.3)
        last = {service: (state.get("Health") or {}).get("Log", [])[-1:] for service, state in states.items()}
        raise RuntimeError(f"{self.name} was not ready: {last}\n{self.compose('logs', '--tail=20', check=False)[-4000:]}")

    def wait_for_web(self, timeout: float = 90, *, health: bool = False) -> None:
        """Wait until Puma answers, whatever it says; with `health` until each check came to a result, and that of Sidekiq to a good one."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self.http("/health", timeout=5)
                states = [(self.inspect(service)["State"].get("Health") or {}).get("Status") for service in APP]
                if not health or ("starting" not in states and states[APP.index("sidekiq")] == "healthy"):
                    return
            time.sleep(0.3)
        raise RuntimeError(f"the web process of {self.name} did not answer:\n{self.compose('logs', '--tail=20', check=False)[-3000:]}")

    def remove(self) -> None:
        self.compose("down", "-v", "-t", "2", check=False)

    def __enter__(self) -> Project:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


@contextlib.contextmanager
def small_filesystem(folder: Path, megabytes: int = 48) -> Iterator[Path]:
    """A filesystem that can be filled without filling the machine."""
    folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,uid={OWNER},gid={OWNER},mode=0755", "small", folder)
    try:
        yield folder
    finally:
        run("umount", "-l", folder, check=False)
