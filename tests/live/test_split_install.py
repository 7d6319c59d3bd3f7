# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance on three hosts: healthy it is clear; what is wrong is named once, where it is, and what hangs from it elsewhere says so."""

from __future__ import annotations

import json
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import Box, preloaded
from split import Split, caused, roots, started

LIVE = "/home/mastodon/live"


def settled(box: Box) -> None:
    """Long enough since the last start for nothing to be excused by it."""
    units = "mastodon-web mastodon-sidekiq 'mastodon-streaming*'"
    since = f"systemctl show -p ActiveEnterTimestampMonotonic --value {units} | sort -n | tail -1; cut -d. -f1 /proc/uptime"
    started_usec, uptime = (int(line or 0) for line in box.run(since).out.split()[-2:])
    time.sleep(max(0.0, 50 - (uptime - started_usec / 1e6)))


@pytest.fixture(scope="module", params=["trixie", pytest.param("bookworm", marks=pytest.mark.thorough)])
def hosts(request: pytest.FixtureRequest) -> Iterator[Split]:
    with started(request.param) as split:
        yield split


def test_a_healthy_instance_is_clear_and_a_stopped_database_is_named_where_it_is(hosts: Split, tmp_path: Path) -> None:
    diagnosis, output = hosts.diagnose(tmp_path)
    verdicts = {name: (host["verdict"], host["unknown"]) for name, host in diagnosis["hosts"].items()}
    assert {verdict for verdict, _unknown in verdicts.values()} == {"clear"}, (verdicts, output)
    assert (diagnosis["verdict"], diagnosis["fleet"]) == ("clear", {"findings": []}), output

    hosts.stores.run("systemctl stop postgresql 'postgresql@*'")
    for _each in range(3):
        hosts.web.post("nobody keeps this")
    diagnosis, output = hosts.diagnose(tmp_path)
    here = f"{hosts.stores.name}/db_connection_refused"
    assert roots(diagnosis) == [(hosts.stores.name, "db_connection_refused")], output
    assert caused(diagnosis, hosts.web)["db_connection_refused"] == here
    assert set(caused(diagnosis, hosts.web)) >= {"db_connection_refused", "web_errors_5xx"}
    assert caused(diagnosis, hosts.worker)["db_connection_refused"] == here
    assert f"caused by {here}" in output

    # Mended where it is; the others need nothing, and are looked at again.
    cured, output = hosts.diagnose(tmp_path, "-e", "mastodon_remediate_impact=start", playbook="remediate.yml")
    steps = {name: [(step["fix"], step["state"]) for step in host["remediation"]["steps"]] for name, host in cured["hosts"].items()}
    assert steps == {hosts.stores.name: [("start_services", "kept")], hosts.web.name: [], hosts.worker.name: []}, output
    assert cured["verdict"] == "clear", output
    hosts.web.accepts_posts()


def with_stopped(hosts: Split, box: Box, units: str, folder: Path) -> tuple[dict[str, Any], str]:
    box.run(f"systemctl stop {units}")
    try:
        return hosts.diagnose(folder)
    finally:
        box.run(f"systemctl start {units}")
        hosts.web.accepts_posts()


@pytest.mark.thorough
def test_stopped_redis(hosts: Split, tmp_path: Path) -> None:
    diagnosis, output = with_stopped(hosts, hosts.stores, "redis-server", tmp_path)
    assert roots(diagnosis) == [(hosts.stores.name, "redis_down")], output
    for box in (hosts.web, hosts.worker):
        assert caused(diagnosis, box)["redis_down"] == f"{hosts.stores.name}/redis_down", output


@pytest.mark.thorough
def test_stopped_sidekiq_is_named_once(hosts: Split, tmp_path: Path) -> None:
    diagnosis, output = with_stopped(hosts, hosts.worker, "mastodon-sidekiq", tmp_path)
    assert roots(diagnosis) == [(hosts.worker.name, "sidekiq_not_running")], output
    assert caused(diagnosis, hosts.web) == {}, output


@pytest.mark.thorough
def test_stopped_streaming_is_named_where_it_runs(hosts: Split, tmp_path: Path) -> None:
    units = " ".join(f"'{unit}'" for unit in hosts.worker.streaming_units)
    diagnosis, output = with_stopped(hosts, hosts.worker, units, tmp_path)
    assert roots(diagnosis) == [(hosts.worker.name, "streaming_down")], output
    assert caused(diagnosis, hosts.web) == {"streaming_down": f"{hosts.worker.name}/streaming_down"}, output


@pytest.mark.thorough
def test_a_queue_that_no_host_takes_is_named_once(hosts: Split, tmp_path: Path) -> None:
    drop_in = "/run/systemd/system/mastodon-sidekiq.service.d/split.conf"
    command = hosts.worker.run("sed -n 's/^ExecStart=//p' /etc/systemd/system/mastodon-sidekiq.service").out.strip()
    hosts.worker.put(drop_in, f"[Service]\nExecStart=\nExecStart={command} -q default -q push -q ingress -q mailers -q pull -q fasp\n")
    try:
        hosts.worker.run("systemctl daemon-reload; systemctl restart mastodon-sidekiq")
        settled(hosts.worker)
        diagnosis, output = hosts.diagnose(tmp_path)
    finally:
        hosts.worker.run(f"rm {drop_in}; systemctl daemon-reload; systemctl restart mastodon-sidekiq")
        hosts.web.accepts_posts()
    assert roots(diagnosis) == [(hosts.worker.name, "sidekiq_queue_missing")], output
    assert caused(diagnosis, hosts.web) == {}, output


@pytest.mark.thorough
def test_two_schedulers(hosts: Split, tmp_path: Path) -> None:
    hosts.web.run("systemctl enable --now mastodon-sidekiq")
    try:
        hosts.web.accepts_posts()
        young, output = hosts.diagnose(tmp_path)
        assert roots(young) == [], output  # the process that one restarts counts twice for a moment
        time.sleep(90)
        diagnosis, output = hosts.diagnose(tmp_path)
    finally:
        hosts.web.run("systemctl disable --now mastodon-sidekiq")
    assert roots(diagnosis) == [("fleet", "scheduler_duplicated")], output
    told = " ".join(each["value"] for each in diagnosis["fleet"]["findings"][0]["evidence"])
    assert hosts.web.name in told and hosts.worker.name in told, told


@pytest.mark.thorough
def test_secrets_that_differ(hosts: Split, tmp_path: Path) -> None:
    before = hosts.worker.get(f"{LIVE}/.env.production")
    hosts.worker.set_env(SECRET_KEY_BASE="0" * 128, VAPID_PRIVATE_KEY="another-vapid-key-of-this-host-00000000000=")
    try:
        diagnosis, output = hosts.diagnose(tmp_path)
    finally:
        hosts.worker.put(f"{LIVE}/.env.production", before, 0o640, "mastodon:mastodon")
    assert roots(diagnosis) == [("fleet", "secrets_drift")], output
    told = sorted(each["value"] for each in diagnosis["fleet"]["findings"][0]["evidence"])
    assert [each.split(" ")[0] for each in told] == ["SECRET_KEY_BASE", "VAPID_PRIVATE_KEY"]
    assert "0" * 20 not in json.dumps(diagnosis) + output
    for secret in (line.partition("=")[2] for line in before.splitlines() if "KEY" in line or "SECRET" in line):
        assert secret not in json.dumps(diagnosis) + output


@pytest.mark.thorough
def test_versions_that_differ(hosts: Split, tmp_path: Path) -> None:
    path = f"{LIVE}/lib/mastodon/version.rb"
    before = hosts.worker.get(path)
    newest = {"trixie": ("4.4.22", "22", "21"), "bookworm": ("4.1.25", "25", "24")}[hosts.web.suite]
    hosts.worker.run(["sed", "-i", f"s/{newest[1]}/{newest[2]}/", path])
    try:
        diagnosis, output = hosts.diagnose(tmp_path)
    finally:
        hosts.worker.put(path, before, 0o644, "mastodon:mastodon")
    assert roots(diagnosis) == [("fleet", "version_drift")], output
    assert newest[0] in diagnosis["fleet"]["findings"][0]["title"]["en"]


# Boxes share the clock of their kernel, so this one's programs are told another time. What is proven: that a host whose clock is
# ahead is found by it. What is not: anything that only a kernel with a wrong clock of its own does.
SHIFT = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int done = real(clock, at);
  if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += 300;
  return done;
}
int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  int done = clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec, at->tv_usec = now.tv_nsec / 1000;
  return done;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
"""


@pytest.mark.thorough
def test_clocks_that_differ(hosts: Split, tmp_path: Path) -> None:
    hosts.worker.put("/usr/local/lib/shift.so", preloaded(SHIFT, tmp_path).read_bytes(), 0o755)
    hosts.worker.put("/etc/ld.so.preload", "/usr/local/lib/shift.so\n")
    try:
        diagnosis, output = hosts.diagnose(tmp_path)
    finally:
        hosts.worker.run("rm /etc/ld.so.preload")
    assert roots(diagnosis) == [("fleet", "clocks_differ")], output
    told = [each["value"] for each in diagnosis["fleet"]["findings"][0]["evidence"]]
    least, most = (float(told[-1].split(" ")[number]) for number in (1, 3))
    assert told[-1].startswith(f"{hosts.worker.name}: ") and least <= 300 <= most, told


@pytest.mark.thorough
def test_a_redis_of_its_own(hosts: Split, tmp_path: Path) -> None:
    """The mistake of most who split: Sidekiq still uses the Redis of its host, where nobody leaves jobs."""
    hosts.worker.run("systemctl enable --now redis-server")
    hosts.worker.set_env(REDIS_HOST="localhost")
    streaming = " ".join(f"'{unit}'" for unit in hosts.worker.streaming_units)
    try:
        hosts.worker.run(f"systemctl restart mastodon-sidekiq {streaming}")
        time.sleep(75)  # the old heartbeat in the other Redis is forgotten after a minute
        diagnosis, output = hosts.diagnose(tmp_path)
    finally:
        hosts.worker.set_env(REDIS_HOST=hosts.stores.address)
        hosts.worker.run(f"systemctl restart mastodon-sidekiq {streaming}; systemctl disable --now redis-server")
        hosts.web.accepts_posts()
    assert roots(diagnosis) == [("fleet", "stores_differ")], output
    assert caused(diagnosis, hosts.web).get("sidekiq_not_running") == "fleet/stores_differ", output
