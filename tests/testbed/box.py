# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in Mastodon server in a container, for tests.

    with Box.start("trixie") as box:
        box.ready()
        box.run("systemctl stop redis-server")
        status, headers, body = box.post("hello")

Build the images first (./build). See README.md for what is real in a box.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import time

from types import TracebackType
from typing import Self

import docker

from box_client import DOMAIN, TOKEN, Client, Response
from box_machine import ERROR_LINES, LIVE, BoxError, Completed, tail_of
from docker.errors import APIError, DockerException, NotFound

__all__ = ["DOMAIN", "LIVE", "SUITES", "TOKEN", "Box", "BoxError", "Completed", "Response", "boxes", "purge"]

SUITES = ("trixie", "bookworm")
VERSIONS = {"trixie": "4.4.22", "bookworm": "4.1.25"}
DB_PASSWORD = "standin-database-password"
LABEL = "fediops.testbed"


@functools.cache
def _docker() -> docker.DockerClient:
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        raise BoxError("no docker engine answers; run tests/testbed/engine first") from error
    return client


class Box(Client):
    settings, settings_mode, settings_owner = f"{LIVE}/.env.production", 0o640, "mastodon:mastodon"

    @classmethod
    def start(cls, suite: str, *, name: str | None = None, kmsg: bool = False, loop: bool = False, net_admin: bool = False,
              small_root: str = "") -> Box:
        """Start a box; `kmsg` shows it the kernel log, `loop` lets it mount files, `net_admin` lets it change its addresses and routes,
        `small_root` ("64m") gives it a / that can be filled."""
        if suite not in SUITES:
            raise BoxError(f"there is no suite {suite!r}, only {' and '.join(SUITES)}")
        image = f"{os.environ.get('FEDIOPS_TESTBED_IMAGE', 'fediops-testbed')}:{suite}"
        return cls.of_image(image, suite, name=name, kmsg=kmsg, loop=loop, net_admin=net_admin, small_root=small_root)

    @classmethod
    def of_image(cls, image: str, suite: str, *, name: str | None = None, kmsg: bool = False, loop: bool = False, net_admin: bool = False,
                 small_root: str = "", engine: bool = False) -> Self:
        """The same of another image; `engine` has what an engine in the box needs."""
        name = name or f"fediops-{suite}-{secrets.token_hex(3)}"
        capabilities, devices, rules = ["SYS_ADMIN", "SYS_PTRACE"], [], []
        if kmsg:
            capabilities.append("SYSLOG")
            devices.append("/dev/kmsg:/dev/kmsg:rwm")
        if net_admin or engine:
            capabilities.append("NET_ADMIN")
        if loop:
            devices.append("/dev/loop-control:/dev/loop-control:rwm")
            rules.append("b 7:* rmw")
        try:
            container = _docker().containers.run(
                image,
                detach=True,
                name=name,
                hostname=name,
                labels={LABEL: "1", f"{LABEL}.suite": suite},
                environment={"SMALL_ROOT": small_root} if small_root else {},
                cap_add=capabilities,
                devices=devices,
                device_cgroup_rules=rules,
                security_opt=["seccomp=unconfined"],
                cgroupns="private",
                # Without it ::1 is "cannot assign", not "connection refused".
                sysctls={"net.ipv6.conf.all.disable_ipv6": "0"},
                tmpfs={"/run": "", "/run/lock": ""},
                # Of overlays upon an overlay there are none.
                volumes=["/var/lib/docker", "/var/lib/containerd"] if engine else [],
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
    def version(self) -> str:
        return VERSIONS[self.suite]

    def set_env(self, **keys: str | None) -> None:
        """Set keys of .env.production, or remove those that are None. Restarts nothing."""
        lines = [line for line in self.get(self.settings).splitlines() if line.partition("=")[0] not in keys]
        lines += [f"{key}={value}" for key, value in keys.items() if value is not None]
        self.put(self.settings, "\n".join(lines) + "\n", self.settings_mode, self.settings_owner)

    def use_tcp(self, port: int = 5432, password: str = DB_PASSWORD) -> None:
        """Reach PostgreSQL by TCP and password, not by socket and peer; 6432 is PgBouncer."""
        if port == 6432:
            self.run("systemctl start pgbouncer")
        self.set_env(DB_HOST="127.0.0.1", DB_PORT=str(port), DB_PASS=password)
        self.restart_mastodon()

    def serve(self, *others: Box) -> None:
        """Open PostgreSQL and Redis to other boxes."""
        lines = "".join(f"host mastodon_production mastodon {other.address}/32 scram-sha-256\\n" for other in others)
        self.run(f"""
        echo "listen_addresses = '*'" >$(echo /etc/postgresql/*/main/conf.d)/standin.conf
        printf '{lines}' >>$(echo /etc/postgresql/*/main/pg_hba.conf)
        sed -i -e 's/^bind .*/bind */' -e 's/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf
        systemctl restart postgresql redis-server
        """)

    def use_stores_of(self, other: Box) -> None:
        """Become a second server of the instance of `other`: with its PostgreSQL and Redis over the network, and none of its own."""
        other.wait_for_services()
        other.serve(self)
        other.restart_mastodon()
        self.wait_for_services()
        self.run("systemctl stop mastodon-web mastodon-sidekiq 'mastodon-streaming*'")
        self.drop_stores()
        self.set_env(DB_HOST=other.address, DB_PASS=DB_PASSWORD, REDIS_HOST=other.address)
        self.stores = other.address
        self.restart_mastodon()

    def drop_stores(self) -> None:
        """Have no Redis and no PostgreSQL any more."""
        # Stopping postgresql.service returns before its instances have ended.
        self.run("systemctl disable --now redis-server postgresql; systemctl stop 'postgresql@*'")
        self.run("pg_lsclusters -h | while read version name rest; do pg_dropcluster $version $name; done")

    def restart_mastodon(self) -> None:
        """Returns when systemd does, as on a server: see wait_for_services()."""
        self.run(["systemctl", "restart", "mastodon-web", "mastodon-sidekiq", *self.streaming_units])

    @property
    def streaming_units(self) -> list[str]:
        return ["mastodon-streaming.service"] if self.suite == "bookworm" else ["mastodon-streaming@4000.service"]

    def ready(self, timeout: float = 300) -> float:
        """Wait until a post through nginx is accepted and its job is done; seconds it took."""
        begin = time.monotonic()
        self.wait_for_services(timeout)
        self.accepts_posts(timeout)
        return time.monotonic() - begin

    def accepts_posts(self, timeout: float = 300) -> None:
        """The same where it has not all of an instance: wherever the job is done."""
        deadline = time.monotonic() + timeout
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
                return
            time.sleep(0.1)
        raise self._not_ready(timeout, trouble)

    def wait_for_services(self, timeout: float = 180) -> bool:
        """Wait until all processes are up, e.g. after a restart; False when one stays down. Posts nothing."""
        # From inside, so that no half-booted box leaves 502s in its error log. The
        # workers are counted because a SIGTERM in the middle of a worker's boot
        # gets lost: Puma then hangs until systemd kills it, 15 s later.
        script = """
        booted() {
          id=$(systemctl show --value -p InvocationID mastodon-web)
          done=$(journalctl -q -o cat "_SYSTEMD_INVOCATION_ID=$id" | grep -c 'Worker.*booted in')
          [ "$done" -ge "$(pgrep -fc '^puma: cluster worker')" ]
        }
        until curl -so /dev/null 127.0.0.1:3000/health && curl -so /dev/null 127.0.0.1:4000/api/v1/streaming/health &&
          [ "$(redis-cli -h STORES scard processes)" -ge 1 ] && [ "$(ss -Hltn 'sport = :443')" ] && booted
        do sleep 0.1; done
        """.replace("STORES", self.stores)
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
            return BoxError(f"box {self.name} is {self.container.status}:\n{tail_of(self.container.logs().decode(errors='replace'))}")
        units = ["postgresql@*-main.service", "redis-server.service", "nginx.service", "mastodon-web.service",
                 "mastodon-sidekiq.service", *self.streaming_units]
        bad = next((unit for unit in units if "active" not in self._states(unit)), "mastodon-web.service")
        log = self.run(["journalctl", "--no-pager", "-u", bad, "-n", str(ERROR_LINES)], check=False).out
        return BoxError(f"box {self.name} was not ready within {timeout:.0f} s: {trouble}; {bad} says:\n{tail_of(log)}")

    def _states(self, unit: str) -> list[str]:
        return self.run(["systemctl", "show", "--value", "-p", "ActiveState", unit], check=False).out.split()


def boxes() -> list[Box]:
    """Every box of this machine, whoever started it."""
    found = _docker().containers.list(all=True, filters={"label": f"{LABEL}=1"})
    return [Box(container.labels.get(f"{LABEL}.suite", ""), str(container.name), container) for container in found]


def purge() -> int:
    """Remove all boxes of this machine."""
    found = boxes()
    for box in found:
        box.remove()
    return len(found)
