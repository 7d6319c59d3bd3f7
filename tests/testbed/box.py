# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in Mastodon server in a container, for tests.

    with Box.start("trixie") as box:
        box.ready()
        box.run("systemctl stop redis-server")
        status, headers, body = box.post("hello")

Build the images first (./build). See README.md for what is real in a box.
"""

from __future__ import annotations

import base64
import functools
import http.client
import json
import secrets
import shlex
import ssl
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, NamedTuple

import docker
from docker.errors import APIError, DockerException, NotFound

SUITES = ("trixie", "bookworm")
VERSIONS = {"trixie": "4.4.22", "bookworm": "4.1.25"}
DOMAIN = "mastodon.test"
LIVE = "/home/mastodon/live"
# Known to everyone on purpose: boxes live on the machine's own bridge, for minutes.
TOKEN = "standin-posting-token"
DB_PASSWORD = "standin-database-password"
LABEL = "fediops.testbed"
ERROR_LINES = 15
SHELL_PATH = "/home/mastodon/.rbenv/shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BoxError(Exception):
    """One sentence, followed by the lines that explain it."""


class Completed(NamedTuple):
    rc: int
    out: str


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


@functools.cache
def _docker() -> docker.DockerClient:
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        raise BoxError("no docker engine answers; run tests/testbed/engine first") from error
    return client


@dataclass
class Box:
    suite: str
    name: str
    container: Any

    # --- life ----------------------------------------------------------------

    @classmethod
    def start(cls, suite: str, *, name: str | None = None, kmsg: bool = False, loop: bool = False) -> Box:
        """Start a box; `kmsg` shows it the kernel log, `loop` lets it mount files."""
        if suite not in SUITES:
            raise BoxError(f"there is no suite {suite!r}, only {' and '.join(SUITES)}")
        name = name or f"fediops-{suite}-{secrets.token_hex(3)}"
        capabilities, devices, rules = ["SYS_ADMIN", "SYS_PTRACE"], [], []
        if kmsg:
            capabilities.append("SYSLOG")
            devices.append("/dev/kmsg:/dev/kmsg:rwm")
        if loop:
            devices.append("/dev/loop-control:/dev/loop-control:rwm")
            rules.append("b 7:* rmw")
        try:
            container = _docker().containers.run(
                f"fediops-testbed:{suite}",
                detach=True,
                name=name,
                hostname=name,
                labels={LABEL: "1", f"{LABEL}.suite": suite},
                cap_add=capabilities,
                devices=devices,
                device_cgroup_rules=rules,
                security_opt=["seccomp=unconfined"],
                cgroupns="private",
                # Without it ::1 is "cannot assign", not "connection refused".
                sysctls={"net.ipv6.conf.all.disable_ipv6": "0"},
                tmpfs={"/run": "", "/run/lock": ""},
            )
        except (APIError, NotFound) as error:
            raise BoxError(f"box {name} did not start: {getattr(error, 'explanation', error)}") from error
        return cls(suite, name, container)

    @classmethod
    def find(cls, name: str) -> Box:
        """A box that runs already."""
        try:
            container = _docker().containers.get(name)
        except NotFound as error:
            raise BoxError(f"there is no box {name}") from error
        return cls(container.labels.get(f"{LABEL}.suite", ""), name, container)

    def remove(self) -> None:
        try:
            self.container.remove(force=True, v=True)
        except NotFound:
            pass

    def restart(self) -> None:
        """Stop and start it; its files stay, /run does not."""
        self.container.restart(timeout=20)

    def __enter__(self) -> Box:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()

    @property
    def address(self) -> str:
        self.container.reload()
        networks = self.container.attrs["NetworkSettings"]["Networks"].values()
        found = next((network["IPAddress"] for network in networks if network["IPAddress"]), "")
        if not found:
            raise BoxError(f"box {self.name} has no address (state {self.container.status})")
        return str(found)

    @property
    def version(self) -> str:
        return VERSIONS[self.suite]

    # --- commands and files ----------------------------------------------------

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
            raise BoxError(f"{shlex.join(argv)} {reason} in box {self.name}:\n{_tail(done.out)}")
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
        return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")

    def psql(self, sql: str, database: str = "mastodon_production", check: bool = True) -> str:
        return self.run(["psql", "-XAtq", "-d", database, "-c", sql], "postgres", check).out.strip()

    def redis(self, *arguments: str) -> str:
        return self.run(["redis-cli", *arguments]).out.strip()

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

    # --- configuration -----------------------------------------------------------

    def set_env(self, **keys: str | None) -> None:
        """Set keys of .env.production, or remove those that are None. Restarts nothing."""
        path = f"{LIVE}/.env.production"
        lines = [line for line in self.get(path).splitlines() if line.partition("=")[0] not in keys]
        lines += [f"{key}={value}" for key, value in keys.items() if value is not None]
        self.put(path, "\n".join(lines) + "\n", 0o640, "mastodon:mastodon")

    def use_tcp(self, port: int = 5432, password: str = DB_PASSWORD) -> None:
        """Reach PostgreSQL by TCP and password, not by socket and peer; 6432 is PgBouncer."""
        if port == 6432:
            self.run("systemctl start pgbouncer")
        self.set_env(DB_HOST="127.0.0.1", DB_PORT=str(port), DB_PASS=password)
        self.restart_mastodon()

    def restart_mastodon(self) -> None:
        """Returns when systemd does, as on a server: see wait_for_services()."""
        self.run(["systemctl", "restart", "mastodon-web", "mastodon-sidekiq", *self.streaming_units])

    @property
    def streaming_units(self) -> list[str]:
        return ["mastodon-streaming.service"] if self.suite == "bookworm" else ["mastodon-streaming@4000.service"]

    # --- requests ------------------------------------------------------------------

    def http(
        self, method: str, path: str, body: str | bytes | None = None, headers: dict[str, str] | None = None,
        timeout: float = 30, tls: bool = True,
    ) -> Response:
        """A request through nginx from outside, as a browser would send it."""
        connection = (
            http.client.HTTPSConnection(self.address, timeout=timeout, context=ssl._create_unverified_context())
            if tls
            else http.client.HTTPConnection(self.address, timeout=timeout)
        )
        try:
            connection.request(method, path, body, {"Host": DOMAIN, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            return Response(answer.status, {key.lower(): value for key, value in answer.getheaders()}, text)
        finally:
            connection.close()

    def get_page(self, path: str, timeout: float = 30) -> Response:
        return self.http("GET", path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=timeout)

    def post(self, text: str, timeout: float = 30, **extra: Any) -> Response:
        """Publish a post."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        return self.http("POST", "/api/v1/statuses", json.dumps({"status": text, **extra}).encode(), headers, timeout)

    def upload(self, data: bytes, filename: str, api: str = "v2", timeout: float = 60) -> Response:
        """Upload a picture or a video; v2 leaves videos to Sidekiq and answers 202."""
        boundary = secrets.token_hex(12)
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode() + data + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.http("POST", f"/api/{api}/media", body, headers, timeout)

    # --- health ----------------------------------------------------------------------

    def ready(self, timeout: float = 90) -> float:
        """Wait until a post through nginx is accepted and its job is done; seconds it took."""
        begin = time.monotonic()
        deadline = begin + timeout
        self.wait_for_services(timeout)
        posted: str | None = None
        trouble = "no answer yet"
        while time.monotonic() < deadline:
            try:
                answer = self.post("ready?") if posted is None else self.get_page("/api/v1/timelines/home")
            except OSError as error:
                trouble = f"nginx does not answer ({error})"
                time.sleep(0.2)
                continue
            if answer.status != 200:
                trouble = f"{'posting' if posted is None else 'the home timeline'} answered {answer.status}"
            elif posted is None:
                posted, trouble = json.loads(answer.body)["id"], "the post was accepted but its job is not done"
                continue
            elif any(status["id"] == posted for status in json.loads(answer.body)):
                return time.monotonic() - begin
            time.sleep(0.1)
        raise self._not_ready(timeout, trouble)

    def wait_for_services(self, timeout: float = 60) -> bool:
        """Wait until all processes are up, e.g. after a restart; False when one stays down. Posts nothing."""
        # From inside, so that no half-booted box leaves 502s in its error log. The
        # workers are counted because a SIGTERM in the middle of a worker's boot
        # gets lost: Puma then hangs until systemd kills it, 15 s later.
        script = """
        booted() {
          id=$(systemctl show --value -p InvocationID mastodon-web)
          [ "$(journalctl -q -o cat "_SYSTEMD_INVOCATION_ID=$id" | grep -c 'Worker.*booted in')" -ge "$(pgrep -fc '^puma: cluster worker')" ]
        }
        until curl -so /dev/null 127.0.0.1:3000/health && curl -so /dev/null 127.0.0.1:4000/api/v1/streaming/health &&
          [ "$(redis-cli scard processes)" -ge 1 ] && [ "$(ss -Hltn 'sport = :443')" ] && booted
        do sleep 0.1; done
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self.run(script, check=False, timeout=max(left, 1)).rc == 0:
                    return True
            except BoxError:  # The container is still starting, or has died.
                time.sleep(0.2)
        return False

    def _not_ready(self, timeout: float, trouble: str) -> BoxError:
        self.container.reload()
        if self.container.status != "running":
            return BoxError(f"box {self.name} is {self.container.status}:\n{_tail(self.container.logs().decode(errors='replace'))}")
        units = ["postgresql@*-main.service", "redis-server.service", "nginx.service", "mastodon-web.service",
                 "mastodon-sidekiq.service", *self.streaming_units]
        bad = next((unit for unit in units if "active" not in self._states(unit)), "mastodon-web.service")
        log = self.run(["journalctl", "--no-pager", "-u", bad, "-n", str(ERROR_LINES)], check=False).out
        return BoxError(f"box {self.name} was not ready within {timeout:.0f} s: {trouble}; {bad} says:\n{_tail(log)}")

    def _states(self, unit: str) -> list[str]:
        return self.run(["systemctl", "show", "--value", "-p", "ActiveState", unit], check=False).out.split()


def boxes() -> list[Box]:
    """Every box of this machine, whoever started it."""
    found = _docker().containers.list(all=True, filters={"label": f"{LABEL}=1"})
    return [Box(container.labels.get(f"{LABEL}.suite", ""), container.name, container) for container in found]


def purge() -> int:
    """Remove all boxes of this machine."""
    found = boxes()
    for box in found:
        box.remove()
    return len(found)


def _tail(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-ERROR_LINES:])
