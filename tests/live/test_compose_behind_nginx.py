# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The most usual server with containers: nginx and systemd on the host, Mastodon in a compose project behind them."""

from __future__ import annotations

import contextlib
import sys

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from live import FAULTS, ONE_SUITE, ROOT, ansible, inventory
from one_fix import apply, module, plant, roll_back
from proof import prove
from test_monitor import TREE, WATCH, monitor, passes, ready, told
from test_post_probe import options
from test_remediation import EVERYTHING, play
from test_trace import links, trace

sys.path.insert(0, str(ROOT / "tests" / "testbed" / "compose"))

from box import TOKEN  # noqa: E402
from server import DIRECTORY, Server  # noqa: E402

# Of the host and its nginx, so the same on a server of either kind.
PROXY_FAULTS = [
    "certificate_expired", "nginx_config_broken", "nginx_stopped", "proto_not_forwarded", "proxy_waits_too_briefly",
    "streaming_sent_to_web", "uploads_too_large", "upstream_port_wrong",
]  # fmt: skip


@pytest.fixture(params=ONE_SUITE)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server.start(request.param) as started:
        yield started


def diagnosed(server: Server, folder: Path, *arguments: str, playbook: str = "diagnose") -> tuple[dict[str, Any], str]:
    host, output, _code = play(server, folder, [ROOT / "playbooks" / f"{playbook}.yml"], *arguments)
    return host, output


def roots(host: dict[str, Any]) -> list[str]:
    return [finding["id"] for finding in host["findings"] if finding["rank"] == 1]


def cured(server: Server, folder: Path) -> dict[str, Any]:
    """Remediated, proven, clear, and nothing to do for a second run; the host as the first one left it."""
    host, output = diagnosed(server, folder / "cured", *EVERYTHING, playbook="remediate")
    assert (host["verdict"], roots(host)) == ("clear", []), output[-3000:]
    prove(server)
    again, output = diagnosed(server, folder / "again", *EVERYTHING, playbook="remediate")
    assert again["verdict"] == "clear" and "changed=0" in output, output[-3000:]
    return host


def rolled_back(server: Server, folder: Path, host: dict[str, Any]) -> None:
    back = ansible(ROOT / "playbooks" / "rollback.yml", "-i", inventory(folder, server), "-e", f"run={host['remediation']['run']}")
    assert back.returncode == 0, back.stdout


@pytest.mark.thorough
def test_a_healthy_one_is_clear(server: Server, tmp_path: Path) -> None:
    prove(server)
    host, output = diagnosed(server, tmp_path)
    assert (host["verdict"], host["findings"], host["unknown"]) == ("clear", [], []), output[-3000:]


@pytest.mark.thorough
@pytest.mark.parametrize("fault", PROXY_FAULTS)
def test_a_fault_of_the_proxy(server: Server, fault: str, tmp_path: Path) -> None:
    known = yaml.safe_load((FAULTS / fault / "fault.yml").read_text())
    plant(server, tmp_path / "plant", fault)
    host, output = diagnosed(server, tmp_path / "planted")
    assert roots(host) == [known["cause"]], output[-3000:]
    if known.get("remedy") != "none":
        cured(server, tmp_path)


@pytest.mark.thorough
def test_a_proxy_that_is_not_trusted(server: Server, tmp_path: Path) -> None:
    """The proxy on the host comes to the container from the gateway of its network."""
    before = server.get(f"{DIRECTORY}/.env.production") + "TRUSTED_PROXY_IP=203.0.113.10\n"
    server.set_env(TRUSTED_PROXY_IP="203.0.113.10")
    server.compose("up", "-d")
    server.wait_for_services()
    for _time in range(6):
        server.post("as people do")
    host, output = diagnosed(server, tmp_path / "planted")
    assert roots(host) == ["trusted_proxy_misconfigured"], output[-3000:]
    host = cured(server, tmp_path)
    assert "TRUSTED_PROXY_IP=203.0.113.10,192.168." in server.get(f"{DIRECTORY}/.env.production")
    rolled_back(server, tmp_path, host)
    assert server.get(f"{DIRECTORY}/.env.production") == before


@pytest.mark.thorough
def test_a_closed_directory(server: Server, tmp_path: Path) -> None:
    """Pages come from the container; the uploads that nginx itself serves do not come any more."""
    server.run(f"chmod 750 {DIRECTORY}")
    for _time in range(6):
        assert server.get_page("/system/a.png").status != 200
    host, output = diagnosed(server, tmp_path / "planted")
    assert roots(host) == ["nginx_home_permissions"], output[-3000:]
    host = cured(server, tmp_path)
    assert server.run(["stat", "-c", "%a", DIRECTORY, f"{DIRECTORY}/.env.production"]).out.split() == ["751", "600"]
    rolled_back(server, tmp_path, host)
    assert server.run(["stat", "-c", "%a", DIRECTORY]).out.strip() == "750"


@pytest.mark.thorough
@pytest.mark.parametrize("suite", ONE_SUITE)
def test_out_of_memory(suite: str, tmp_path: Path) -> None:
    """The kernel tells of it by the id of the container, which its engine has started again since."""
    with Server.start(suite, kmsg=True) as server:
        compose = server.get(f"{DIRECTORY}/docker-compose.yml")
        limit = "command: bundle exec sidekiq\n    mem_limit: 220m\n    memswap_limit: 220m\n"
        server.put(f"{DIRECTORY}/docker-compose.yml", compose.replace("command: bundle exec sidekiq\n", limit))
        server.compose("up", "-d")
        server.ready()
        job = "python3 - Standin::EatWorker 600 1"
        server.put("/tmp/enqueue.py", (FAULTS / "files" / "enqueue.py").read_text())
        server.run(f"cd {DIRECTORY} && docker compose exec -T redis {job} </tmp/enqueue.py && sleep 12")
        host, output = diagnosed(server, tmp_path)
        assert roots(host) == ["oom_kill"], output[-3000:]


@pytest.mark.thorough
def test_visitors_of_one_address(server: Server, tmp_path: Path) -> None:
    server.set_env(STANDIN_RATE_LIMIT="3")
    server.compose("up", "-d")
    server.wait_for_services()
    server.run("sed -i '/X-Forwarded-For/d' /etc/nginx/sites-available/mastodon && systemctl reload nginx")
    server.put("/tmp/traffic.py", (FAULTS / "files" / "traffic.py").read_text())
    server.run("python3 /tmp/traffic.py get /api/v1/timelines/public 30 stranger")
    host, output = diagnosed(server, tmp_path)
    assert roots(host) == ["rate_limited_shared_ip"], output[-3000:]


@pytest.mark.thorough
def test_what_the_proxy_of_the_host_logs_of_requests(server: Server, tmp_path: Path) -> None:
    before = server.get("/etc/nginx/sites-available/mastodon")
    step, run = apply(server, tmp_path, "enable_request_log")
    assert (step["state"], step["problems"], step.get("not_in_effect", "")) == ("kept", [], ""), step
    facts = module(server, tmp_path, "mastodon_facts")["ansible_facts"]["mastodon"]
    assert facts["proxy"]["request_log"]["complete"], facts["proxy"]
    again, _run = apply(server, tmp_path, "enable_request_log")
    assert (again["state"], again["changes"]) == ("nothing", []), again
    assert roll_back(server, tmp_path, run)["state"] == "rolled_back"
    assert server.get("/etc/nginx/sites-available/mastodon") == before


@pytest.mark.thorough
@pytest.mark.parametrize(("service", "cause"), [("streaming", "streaming_down"), ("web", "web_down_502"), ("db", "db_connection_refused")])
def test_a_stopped_container(server: Server, service: str, cause: str, tmp_path: Path) -> None:
    server.compose("stop", service)
    for _time in range(6):
        with contextlib.suppress(OSError):  # nobody may answer in time
            server.post("as people do", timeout=10)
    host, output = diagnosed(server, tmp_path / "planted")
    assert roots(host) == [cause], output[-3000:]
    cured(server, tmp_path)


@pytest.mark.thorough
def test_it_is_watched(server: Server, tmp_path: Path) -> None:
    ready(server)
    before = server.run(TREE, check=False).out
    assert "changed=1" in monitor(server, tmp_path) and "changed=0" in monitor(server, tmp_path)
    assert "max-size" in server.get("/etc/docker/daemon.json")
    passes(server, 2)
    assert told(server) == []
    server.compose("stop", "db")
    for _time in range(3):
        server.post("does not work", timeout=60)  # a name that is gone is asked for several times
        passes(server)
    assert told(server) == ["== alert db_connection_refused 0"], server.journal(WATCH)
    alert = server.get("/srv/told")
    assert "posts failed since the last pass" in alert
    assert alert.split("Requests: ")[1].split()[0] in server.compose("logs", "web"), "a request id leads to the log"
    server.compose("start", "db")
    server.ready()
    passes(server, 4)
    assert told(server) == ["== alert db_connection_refused 0", "== clear db_connection_refused 0"], server.journal(WATCH)
    monitor(server, tmp_path, mastodon_monitor_state="absent")
    assert server.run(TREE, check=False).out == before


@pytest.mark.thorough
def test_a_post_is_probed_and_its_request_traced(server: Server, tmp_path: Path) -> None:
    host, output = diagnosed(server, tmp_path, *options(server, tmp_path, mastodon_probe_token=TOKEN))
    assert (host["verdict"], host["findings"], host["probes"]["probe_post"]["state"]) == ("clear", [], "ok"), output[-3000:]
    posted = server.post("followed")
    followed, output = trace(tmp_path, posted.headers["x-request-id"], server)
    assert (followed["state"], followed["requests"][0]["status"]) == ("answered", 200), output
    assert links(followed, "web") == ["id"] and set(links(followed, "proxy")) == {"request"}, output

    server.compose("stop", "redis")
    failed = server.post("refused", timeout=30)
    assert failed.status == 500, failed
    followed, output = trace(tmp_path, failed.headers["x-request-id"], server)
    assert followed["requests"][0]["status"] == 500 and "request" in links(followed, "proxy"), output
    # Of a stopped service even the name is gone: what that means, the lines alone cannot tell.
    assert followed["stacks"][0]["class"].startswith("Redis"), output
