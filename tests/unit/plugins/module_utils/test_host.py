# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door to the operating system: every read and every wait is bounded, whatever lies behind a name."""

from __future__ import annotations

import errno
import grp
import os
import socket
import threading
import time

from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError, sentence
from ansible_collections.fediops.mastodon.plugins.module_utils._network import ask_health


@pytest.fixture
def host() -> Host:
    return Host(time.monotonic() + 10)


def test_a_fifo_a_directory_and_a_device_are_not_read(host: Host, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(HostError):
            host.read(str(path))


def test_reads_end_at_their_limit(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"a" * 100 + b"b" * 100)
    assert host.read(str(path), 100) == b"a" * 100
    tail = host.tail(str(path), 150)
    assert b"".join(tail) == b"a" * 50 + b"b" * 100
    assert tail.truncated and "150 of 200" in tail.reason


def test_a_command_ends_at_its_deadline_and_limit(host: Host) -> None:
    begin = time.monotonic()
    assert host.run(["sleep", "30"], seconds=0.3).rc is None
    done = host.run(["yes"], seconds=5, max_bytes=1000)
    assert len(done.out) == 1000 and done.truncated
    stream = host.stream(["sleep", "30"], time.monotonic() + 0.3, 1000)
    assert list(stream) == [] and stream.truncated and stream.reason == "the time was up"
    assert time.monotonic() - begin < 3


def test_a_missing_command_is_one_sentence(host: Host) -> None:
    with pytest.raises(HostError, match=r"^command no-such-tool is not installed$"):
        host.run(["no-such-tool"])


def test_no_shell_sees_an_argument(host: Host) -> None:
    assert host.run(["echo", "$(id) `id` ; id"]).out == b"$(id) `id` ; id\n"


def answer(pieces: list[bytes], pause: float = 0.0) -> tuple[str, threading.Thread]:
    server = socket.create_server(("127.0.0.1", 0))
    # A server nobody asks any more must not keep its thread for ever.
    server.settimeout(10)

    def serve() -> None:
        link, _address = server.accept()
        with link, server:
            link.recv(4096)
            for piece in pieces:
                try:
                    link.sendall(piece)
                except OSError:
                    return
                time.sleep(pause)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"127.0.0.1:{server.getsockname()[1]}", thread


def test_health(host: Host) -> None:
    address, _thread = answer([b"HTTP/1.1 200 OK\r\n\r\nOK"])
    assert ask_health(host, address, "/health", {})["healthy"]
    address, _thread = answer([b"SSH-2.0-OpenSSH\r\n"])
    assert ask_health(host, address, "/health", {})["error"]["kind"] == "protocol"
    address, _thread = answer([])
    assert ask_health(host, address, "/health", {})["error"]["kind"] == "reset"
    assert ask_health(host, "127.0.0.1:1", "/health", {})["error"]["kind"] == "refused"
    assert ask_health(host, "/run/no-such.sock", "/health", {})["error"]["kind"] == "no_socket"


def test_a_server_that_drips_bytes_is_given_up(host: Host) -> None:
    address, _thread = answer([b"x"] * 100, pause=0.1)
    begin = time.monotonic()
    assert ask_health(host, address, "/health", {}, seconds=1.0)["error"]["kind"] == "timeout"
    assert time.monotonic() - begin < 2.5


@pytest.mark.parametrize(("group", "mode", "folder", "helps"), [
    ("adm", 0o640, 0o755, True), ("systemd-journal", 0o640, 0o755, True), ("mastodon", 0o640, 0o755, False), ("adm", 0o600, 0o755, False),
    ("adm", None, 0o750, True), ("adm", None, 0o710, False), ("adm", None, 0o700, False),
])  # fmt: skip
def test_a_refusal_names_the_group_that_would_do(
    group: str, mode: int | None, folder: int, helps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: SimpleNamespace(gr_name=group))
    path = tmp_path / "log" / "error.log"
    path.parent.mkdir()
    if mode is not None:  # else it cannot be seen: the folder decides
        path.touch()
        path.chmod(mode)
    path.parent.chmod(folder)
    told = str(sentence(OSError(errno.EACCES, ""), str(path)))
    assert told.startswith(f"{path} may not be read by user ")
    end = f"; run with become: true (as root) or make that user a member of the group {group}"
    assert told.endswith(end if helps else "; run with become: true (as root)")
