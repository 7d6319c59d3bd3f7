# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault of one host of an instance is named there and nowhere else, whatever the others suffer of it; also with nginx on its own host."""

from __future__ import annotations

import contextlib
import secrets
import time

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from live import SUITES, Box
from one_fix import plant
from split import Split, caused, off, roots, started

pytestmark = pytest.mark.thorough
LIVE = "/home/mastodon/live"


@pytest.fixture(scope="module", params=SUITES)
def hosts(request: pytest.FixtureRequest) -> Iterator[Split]:
    with started(request.param) as split:
        yield split


def used(hosts: Split) -> None:
    for _each in range(6):
        hosts.web.post("as people do", timeout=20)
        time.sleep(1)


def restarted(box: Box) -> None:
    """What of Mastodon is on for this host."""
    listed = "systemctl list-unit-files --state=enabled 'mastodon-*' --no-legend | cut -d' ' -f1 | grep -v @.service"
    box.run(f"systemctl restart $({listed})", check=False)


def forgotten(*boxes: Box) -> None:
    """What earlier faults left in the logs: an hour of it would count."""
    for box in boxes:
        box.run("journalctl --rotate; journalctl --vacuum-time=1s")
        box.run("truncate -s 0 /var/log/nginx/*.log /var/log/redis/*.log /var/log/postgresql/*.log", check=False)


@contextlib.contextmanager
def full_database_disk(hosts: Split) -> Iterator[None]:
    folder, stores = "/var/lib/postgresql", hosts.stores
    stop, start = "systemctl stop postgresql 'postgresql@*'", "systemctl reset-failed; systemctl start postgresql"
    stores.run(f"""
        set -e; {stop}; cp -a {folder} /var/tmp/aside; mount -t tmpfs -o size=400m,mode=755 tmpfs {folder}
        cp -a /var/tmp/aside/. {folder}/; chown --reference=/var/tmp/aside {folder}; {start}
    """)
    restarted(hosts.web)
    restarted(hosts.worker)
    hosts.web.accepts_posts()
    # No room between the rows either.
    stores.run('psql -XAtq -d mastodon_production -c "VACUUM FULL"', user="postgres")
    stores.run(f"dd if=/dev/zero of={folder}/filler bs=64k; dd if=/dev/zero of={folder}/filler2 bs=1 count=8192; true")
    for _each in range(40):
        hosts.web.post(secrets.token_hex(240), timeout=20)
    try:
        yield
    finally:
        stores.run(f"{stop}; umount -l {folder}; rm -r /var/tmp/aside; {start}")


@contextlib.contextmanager
def redis_says(hosts: Split, command: str, undo: str) -> Iterator[None]:
    hosts.stores.run(f"redis-cli {command}")
    used(hosts)
    try:
        yield
    finally:
        hosts.stores.run(undo)


@contextlib.contextmanager
def settings(box: Box, hosts: Split, **keys: str) -> Iterator[None]:
    before = box.get(f"{LIVE}/.env.production")
    box.set_env(**keys)
    restarted(box)
    time.sleep(20)
    used(hosts)
    try:
        yield
    finally:
        box.put(f"{LIVE}/.env.production", before, 0o640, "mastodon:mastodon")


@contextlib.contextmanager
def lost_assets(hosts: Split) -> Iterator[None]:
    hosts.web.run(f"mv {LIVE}/public/packs {LIVE}/public/aside")
    restarted(hosts.web)
    hosts.web.run("for i in $(seq 50); do curl -sf http://127.0.0.1:3000/health && break; sleep 1; done")
    for _each in range(6):
        hosts.web.get_page("/about")
    try:
        yield
    finally:
        hosts.web.run(f"mv {LIVE}/public/aside {LIVE}/public/packs")


@contextlib.contextmanager
def expired_certificate(hosts: Split, folder: Path) -> Iterator[None]:
    live = "/etc/letsencrypt/live/mastodon.test"
    hosts.web.run(f"cp -a {live} {live}.aside")
    plant(hosts.web, folder / "plant", "certificate_expired")
    try:
        yield
    finally:
        hosts.web.run(f"rm -r {live}; mv {live}.aside {live}; systemctl reload nginx")


# The cause, the host it is to be named at (a setting of a Redis that several use: one of those), how it gets there.
FAULTS: dict[str, tuple[str, str, Callable[[Split, Path], contextlib.AbstractContextManager[None]]]] = {
    "the disk of the database is full": ("disk_full", "stores", lambda hosts, _folder: full_database_disk(hosts)),
    "Redis was made a replica": (
        "redis_readonly", "web", lambda hosts, _folder: redis_says(hosts, "replicaof 192.0.2.1 6379", "redis-cli replicaof no one"),
    ),
    "Redis throws keys away": (
        "redis_eviction_policy", "web",
        lambda hosts, _folder: redis_says(
            hosts, "config set maxmemory 200mb maxmemory-policy allkeys-lru", "redis-cli config set maxmemory 0 maxmemory-policy noeviction"
        ),
    ),
    "one host has another password": ("db_auth_failed", "worker", lambda hosts, _folder: settings(hosts.worker, hosts, DB_PASS="not-it")),
    "one host has another Redis": (
        "redis_misconfigured_host", "worker", lambda hosts, _folder: settings(hosts.worker, hosts, REDIS_HOST="redis.invalid"),
    ),
    "the assets are gone": ("assets_missing", "web", lambda hosts, _folder: lost_assets(hosts)),
    "the certificate expired": ("tls_expired", "web", expired_certificate),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_where_it_is(hosts: Split, fault: str, tmp_path: Path) -> None:
    cause, where, planted = FAULTS[fault]
    try:
        with planted(hosts, tmp_path):
            diagnosis, output = hosts.diagnose(tmp_path)
    finally:
        for box in (hosts.web, hosts.worker):
            restarted(box)
        hosts.web.accepts_posts()
        forgotten(*hosts)
    assert roots(diagnosis) == [(getattr(hosts, where).name, cause)], output[-6000:]
    if where == "stores" and cause == "disk_full":
        assert "web_errors_5xx" in caused(diagnosis, hosts.web), output[-6000:]


@pytest.fixture
def front(hosts: Split) -> Iterator[Box]:
    """A fourth host with nothing but nginx, before the web process and the streaming server of the others."""
    with Box.start(hosts.web.suite) as box:
        box.wait_for_services()
        streaming = [f"'{unit}'" for unit in box.streaming_units]
        off(box, "mastodon-web", "mastodon-sidekiq", *streaming, "redis-server", "postgresql")
        box.drop_stores()
        box.run("rm -rf /etc/systemd/system/mastodon-*; systemctl daemon-reload; systemctl reset-failed")
        hosts.web.set_env(TRUSTED_PROXY_IP=f"{box.address},127.0.0.1")
        drop_in = "/run/systemd/system/mastodon-web.service.d/bind.conf"
        hosts.web.put(drop_in, "[Service]\nEnvironment=BIND=0.0.0.0\n")
        hosts.web.run("systemctl daemon-reload; systemctl restart mastodon-web")
        servers = f"-e 's/127.0.0.1:3000/{hosts.web.address}:3000/' -e 's/127.0.0.1:4000/{hosts.worker.address}:4000/'"
        box.run(f"mkdir -p /srv/public; mv {LIVE}/public/* /srv/public; rm -rf /home/mastodon; chmod -R a+rX /srv/public")
        box.run(f"grep -rlE '127.0.0.1:[34]000|{LIVE}' /etc/nginx | xargs sed -i {servers} -e 's#{LIVE}/public#/srv/public#'")
        box.run("systemctl restart nginx")
        hosts.web.accepts_posts()
        forgotten(*hosts, box)
        try:
            yield box
        finally:
            hosts.web.set_env(TRUSTED_PROXY_IP=None)
            hosts.web.run(f"rm {drop_in}; systemctl daemon-reload; systemctl restart mastodon-web")


def test_a_proxy_of_its_own(hosts: Split, front: Box, tmp_path: Path) -> None:
    for _each in range(6):
        assert front.post("through the other host").status == 200
    diagnosis, output = hosts.diagnose(tmp_path, also=(front,))
    assert (diagnosis["verdict"], roots(diagnosis)) == ("clear", []), output[-6000:]

    hosts.web.run("systemctl stop mastodon-web")
    for _each in range(6):
        assert front.post("nobody is there").status == 502
    diagnosis, output = hosts.diagnose(tmp_path, also=(front,))
    assert roots(diagnosis) == [(hosts.web.name, "web_down_502")], output[-6000:]
    hosts.web.run("systemctl start mastodon-web")
    hosts.web.accepts_posts()
    forgotten(*hosts, front)

    plant(front, tmp_path / "plant", "certificate_expired")
    diagnosis, output = hosts.diagnose(tmp_path, also=(front,))
    assert roots(diagnosis) == [(front.name, "tls_expired")], output[-6000:]
