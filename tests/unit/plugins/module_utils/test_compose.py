# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers as units, the engine's protocol and the resolver: on what a real engine sent, and on what a hostile one could send."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils import _engine, _fixes, _resolver
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import compose, composition, container_logs

ID = "a" * 64


def inspected(**changes: Any) -> dict[str, Any]:
    """What engine 20.10 tells of a container that compose 2 made, in its parts that count."""
    networks = {"mastodon_internal_network": {"IPAddress": "172.18.0.4"}, "mastodon_external_network": {"IPAddress": ""}}
    times = {"StartedAt": "2026-11-21T17:00:00.5Z", "FinishedAt": "2026-11-21T18:00:00.123456789+01:00"}
    told: dict[str, Any] = {
        "Id": ID,
        "Name": "/mastodon-web-1",
        "Path": "/usr/bin/tini",
        "Args": ["--", "bundle", "exec", "puma", "-C", "config/puma.rb"],
        "RestartCount": 0,
        "Image": "sha256:1",
        "ResolvConfPath": "/var/lib/docker/containers/aaa/resolv.conf",
        "State": {"Status": "exited", "ExitCode": 0, "OOMKilled": False, "Pid": 0, **times},
        "Config": {
            "Image": "ghcr.io/mastodon/mastodon:v4.4.22",
            "User": "mastodon",
            "WorkingDir": "/opt/mastodon",
            "Hostname": "aaaaaaaaaaaa",
            "Env": ["RAILS_ENV=production", "LOCAL_DOMAIN=mastodon.example"],
            "Labels": {"com.docker.compose.service": "web"},
        },
        "HostConfig": {"RestartPolicy": {"Name": "always"}, "Memory": 0, "NetworkMode": "mastodon_external_network"},
        "Mounts": [{"Type": "bind", "Source": "/srv/mastodon/public/system", "Destination": "/mastodon/public/system", "RW": True}],
        "NetworkSettings": {"Networks": networks, "Ports": {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "3000"}]}},
    }
    for path, value in changes.items():
        part = told
        *folders, last = path.split("__")
        for name in folders:
            part = part[name]
        part[last] = value
    return told


def unit(**changes: Any) -> dict[str, Any]:
    return compose.unit_of(Host(time.monotonic() + 5), inspected(**changes))


def test_a_stopped_container() -> None:
    web = unit()
    assert (web["name"], web["role"], web["active_state"], web["result"], web["intended"]) == (
        "mastodon-web-1",
        "web",
        "inactive",
        "success",
        True,
    )
    assert web["since_epoch"] == pytest.approx(1795280400.123) and "pid" not in web and web["image_version"] == "4.4.22"
    assert compose.address_of(web, 3000) == "127.0.0.1:3000" and compose.address_of(web, 4000) == "172.18.0.4:4000"
    assert composition.source_of(web, "/mastodon/public/system/cache") == "/srv/mastodon/public/system/cache"
    assert web["_state_root"] == "/var/lib/docker"


@pytest.mark.parametrize(
    ("code", "oom", "state", "result", "how", "status"),
    [
        (143, False, "inactive", "success", "killed", 15),
        (137, True, "failed", "oom-kill", "killed", 9),
        (137, False, "failed", "signal", "killed", 9),
        (1, False, "failed", "exit-code", "exited", 1),
    ],
)
def test_how_a_container_ended(code: int, oom: bool, state: str, result: str, how: str, status: int) -> None:
    ended = unit(State__ExitCode=code, State__OOMKilled=oom)
    assert (ended["active_state"], ended["result"], ended["exit_code"], ended["exit_status"]) == (state, result, how, status)


def test_switched_off_on_purpose() -> None:
    assert not unit(HostConfig__RestartPolicy={"Name": "no"})["intended"]
    assert unit(HostConfig__RestartPolicy={"Name": "no"}, State__ExitCode=1)["intended"]
    assert unit(State__Status="restarting", State__ExitCode=1)["active_state"] == "activating"


@pytest.mark.parametrize(
    ("argv", "image", "role"),
    [
        (["/tini", "--", "bash", "-c", "rm -f tmp/pids/server.pid; bundle exec rails s -p 3000"], "tootsuite/mastodon:v4.1.0", "web"),
        (["/tini", "--", "bundle", "exec", "sidekiq"], "tootsuite/mastodon", "sidekiq"),
        (["node", "./streaming"], "ghcr.io/mastodon/mastodon:v4.2.0", "streaming"),
        (["docker-entrypoint.sh", "postgres"], "postgres:14-alpine", "database"),
        (["docker-entrypoint.sh", "redis-server", "--save", ""], "redis:7-alpine", "redis"),
        (["/bitnami/scripts/run.sh"], "registry.example:5000/bitnami/postgresql:16", "database"),
        (["/usr/local/bin/docker-entrypoint.sh", "eswrapper"], "docker.elastic.co/elasticsearch/elasticsearch:7.17.4", ""),
    ],
)  # fmt: skip
def test_role(argv: list[str], image: str, role: str) -> None:
    assert unit(Path=argv[0], Args=argv[1:], Config__Image=image)["role"] == role


def test_times() -> None:
    assert compose.epoch_of("0001-01-01T00:00:00Z") == 0.0 == compose.epoch_of("soon")
    assert compose.epoch_of("2026-11-21T17:00:00.123456789Z") == compose.epoch_of("2026-11-21T18:00:00.123456789+01:00")


def test_composition() -> None:
    running = {"State__Status": "running", "State__Pid": 0}
    apart = unit(Name="/mastodon-web-1", NetworkSettings__Networks={"a": {}}, **running)
    store = unit(
        Name="/mastodon-db-1", Path="postgres", Args=[], Config__Image="postgres:14", NetworkSettings__Networks={"b": {}}, **running
    )
    for each in (apart, store):
        each["pid"] = 1
    assert composition._unreachable([apart, store]) == [{"unit": "mastodon-web-1", "other": "mastodon-db-1", "role": "database"}]
    store["networks"] = ["a", "b"]
    assert composition._unreachable([apart, store]) == []
    install = {"storage": "local", "root": "/opt/mastodon", "media_root": "/opt/mastodon/public/system"}
    assert composition._unsaved([apart], install) == []
    assert composition._unsaved([unit(Mounts=[])], install) == [{"unit": "mastodon-web-1", "path": "/opt/mastodon/public/system"}]
    assert composition._unsaved([unit(Mounts=[])], dict(install, storage="s3")) == []
    volume = {"Type": "volume", "Source": "/var/lib/docker/volumes/x/_data", "Destination": "/opt/mastodon/public/packs/"}
    assert composition._shadowed([unit(Mounts=[volume])], "/opt/mastodon") == [
        {"unit": "mastodon-web-1", "path": "/opt/mastodon/public/packs", "source": "/var/lib/docker/volumes/x/_data"}
    ]
    other = unit(Path="node", Args=["./streaming"], Config__Image="ghcr.io/mastodon/mastodon-streaming:v4.3.0", Image="sha256:2")
    assert [each["version"] for each in composition._mixed([apart, other])] == ["4.4.22", "4.3.0"]
    assert composition._mixed([apart, unit()]) == [] and len(composition._mixed([apart, unit(Image="sha256:9")])) == 2


@pytest.mark.parametrize(("told", "seconds"), [(None, 10.0), (60, 60.0), (0, 0.0), (-1, None)])
def test_how_long_a_container_may_take_to_stop(told: int | None, seconds: float | None) -> None:
    assert unit(Config__StopTimeout=told)["stop_timeout_seconds"] == seconds


def test_every_refusal_is_of_a_fix_that_there_is() -> None:
    fixes, well = set(_fixes.FIXES), _fixes.ALSO_IN_CONTAINERS
    assert set(_fixes.NOT_IN_CONTAINERS) < fixes and fixes > well
    assert {fix for fix in fixes if _fixes.why_not_in_containers(fix, composed=True) is None} == well
    alone = {fix for fix in fixes if _fixes.why_not_in_containers(fix, composed=False) is None}
    assert "add_swap" in alone and "fix_media_permissions" not in alone and alone < well
    assert _fixes.why_not_in_containers("one_that_is_new", composed=True)
    assert all(len(texts) == 2 and all(texts) for texts in _fixes.NOT_IN_CONTAINERS.values())


class Server:
    """An engine's socket that sends prepared bytes, one answer a connection."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.asked: list[bytes] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(8)
        self._answers = answers
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._answers:
            link, _address = self._listening.accept()
            asked = link.recv(65536)
            wanted = re.search(rb"Content-Length: (\d+)", asked)
            while wanted and len(asked.partition(b"\r\n\r\n")[2]) < int(wanted.group(1)):
                asked += link.recv(65536)
            self.asked.append(asked)
            try:
                link.sendall(answer)
            except OSError:
                pass
            link.close()

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    servers: list[Server] = []

    def start(*answers: bytes) -> tuple[_engine.Engine, Server]:
        path = tmp_path / f"{len(servers)}.sock"
        servers.append(Server(path, *answers))
        return _engine.at(Host(time.monotonic() + 10), str(path)), servers[-1]

    yield start
    for server in servers:
        server.close()


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack("!BxxxI", kind, len(data)) + data


def test_questions(serve: Any) -> None:
    engine, server = serve(
        answer(b'{"a": 1}'), answer(b'{"message": "No such\\u001b[31m thing"}', "404 Not Found"), b"SSH-2.0\r\n", answer(b"no json")
    )
    assert engine.get("/containers/json", filters='{"label":["x"]}') == {"a": 1}
    assert b"GET /containers/json?filters=%7B%22label%22%3A%5B%22x%22%5D%7D HTTP/1.1" in server.asked[0]
    with pytest.raises(_engine.Missing, match=r"404: No such \[31m thing"):
        engine.get("/x")
    with pytest.raises(HostError, match="does not speak HTTP"):
        engine.get("/x")
    with pytest.raises(HostError, match="no JSON"):
        engine.get("/x")
    with pytest.raises(HostError, match="an id that is none"):
        engine.file("../../etc", "/x", 10)


def test_log_lines_keep_time_and_order(serve: Any) -> None:
    body = frame(1, b"2026-11-21T17:00:00.250000000Z one\n2026-11-21T17:00:01Z tw") + frame(
        2, b"o\n2026-11-21T17:00:02.5Z \x1b[31mthree\r\n"
    )
    engine, _server = serve(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    stream = engine.logs(ID, 0.0, 100, False, time.monotonic() + 5, 1 << 20)
    base = compose.epoch_of("2026-11-21T17:00:00Z")
    assert list(container_logs.timed(stream)) == [(base + 0.25, b"one"), (base + 1, b"two"), (base + 2.5, b"\x1b[31mthree")]
    assert not stream.truncated


def test_logs_of_a_broken_engine_are_said_to_be_cut(serve: Any) -> None:
    engine, _server = serve(
        b"HTTP/1.1 200 OK\r\n\r\n" + b"\xff" * 64, answer(b'{"message": "configured logging driver does not support reading"}', "501 No")
    )
    broken = engine.logs(ID, 0.0, 100, False, time.monotonic() + 5, 1 << 20)
    assert list(broken) == [] and broken.truncated and "unknown form" in broken.reason
    none = engine.logs(ID, 0.0, 100, False, time.monotonic() + 5, 1 << 20)
    assert list(none) == [] and "does not support reading" in none.reason


def test_a_command_inside(serve: Any) -> None:
    engine, server = serve(
        answer(json.dumps({"Id": "b" * 64}).encode(), "201 Created"),
        b"HTTP/1.1 200 OK\r\n\r\n" + frame(1, b"out") + frame(2, b"err"),
        answer(b'{"ExitCode": 3, "Running": false}'),
    )
    assert engine.run(ID, ["test", "-r", "$(x)"], 5.0, 100) == (3, b"out", b"err", False)
    assert json.loads(server.asked[0].partition(b"\r\n\r\n")[2])["Cmd"] == ["test", "-r", "$(x)"]


class Files(Host):
    """A host of prepared files."""

    def __init__(self, files: dict[str, str]) -> None:
        super().__init__(time.monotonic() + 10)
        self._files = files

    def maybe(self, path: str, max_bytes: int = 0) -> str | None:
        return self._files.get(path)


def test_names_of_the_hosts_file_and_addresses() -> None:
    host = Files({"/etc/hosts": "127.0.0.1\tlocalhost # me\n172.18.0.9 Db db.example\n"})
    assert _resolver.lookup(host, "db") == ["172.18.0.9"] and _resolver.lookup(host, "10.0.0.1") == ["10.0.0.1"]
    assert _resolver.lookup(host, "[::1]") == ["::1"]
    for hostile in ("a b", "-x", "x" * 300, "a\nb", ""):
        with pytest.raises(socket.gaierror):
            _resolver.lookup(host, hostile)


def test_answers_of_a_name_server() -> None:
    question = b"\x02db\x00" + struct.pack("!2H", 1, 1)
    head = struct.pack("!6H", 1, 0x8180, 1, 2, 0, 0)
    alias = b"\xc0\x0c" + struct.pack("!2HIH", 5, 1, 60, 2) + b"\xc0\x0c"
    address = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + bytes([172, 18, 0, 3])
    assert _resolver._addresses(head + question + alias + address, _resolver.A) == ["172.18.0.3"]
    whole = head + question + alias + address
    for cut in range(len(whole)):
        assert _resolver._addresses(whole[:cut], _resolver.A) == []
    assert _resolver._addresses(head + b"\xc0" * 64, _resolver.A) == []


@pytest.mark.parametrize("order", [("127.0.0.1", "224.0.0.1"), ("224.0.0.1", "127.0.0.1")])
def test_who_refused_tells_more_than_an_address_without_a_way(order: tuple[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with _resolver.connect(["224.0.0.1", "127.0.0.1"], port, lambda: 5.0) as link:
            assert link.getpeername() == ("127.0.0.1", port)
    with pytest.raises(ConnectionRefusedError):
        _resolver.connect([*order], port, lambda: 5.0)
    with pytest.raises(OSError, match="unreachable"):
        _resolver.connect(["224.0.0.1"], port, lambda: 5.0)
    with pytest.raises(socket.gaierror):
        _resolver.connect([], port, lambda: 5.0)
