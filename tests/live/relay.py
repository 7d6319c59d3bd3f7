# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe run against a box through a relay that sees each request, and can stop the probe or lose an answer at any of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from live import ROOT, Box

__all__ = ["Lost", "Relay", "Request", "ended", "left_in_database"]

COLLECTIONS = ROOT / ".ansible" / "collections"
sys.path.insert(0, str(COLLECTIONS))

from ansible_collections.fediops.mastodon.tests.unit.fixtures.tls_server import Request, TlsServer, certificate  # noqa: E402

PROBE = (
    "import json, sys\n"
    "from ansible_collections.fediops.mastodon.plugins.module_utils._probe.apart import run_apart\n"
    "json.dump(run_apart(json.load(sys.stdin)), sys.stdout)\n"
)


class Lost(ConnectionError):
    """The answer is thrown away after the server has given it."""


class Relay:
    """`act(request, when)` is called `before` each request reaches the box and `after` its answer came; Lost loses the answer."""

    def __init__(self, box: Box, folder: Path, token: str) -> None:
        self.box = box
        self.act: Callable[[Request, str], None] = lambda _request, _when: None
        self.state_dir = folder / "state"
        self._pem = certificate(folder)
        self._token = token
        self._address = box.address
        self._asker: subprocess.Popen[str] | None = None
        self._server = TlsServer(self._pem, self._answer)

    def __enter__(self) -> Relay:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    @property
    def seen(self) -> list[Request]:
        return self._server.seen

    def _answer(self, request: Request, _link: ssl.SSLSocket) -> Iterator[bytes]:
        self.act(request, "before")
        context = ssl._create_unverified_context()  # noqa: SLF001
        answer = b""
        with context.wrap_socket(socket.create_connection((self._address, 443), timeout=30), server_hostname="mastodon.test") as link:
            link.sendall(request.raw)
            while part := link.recv(65536):
                answer += part
        self.act(request, "after")
        yield answer

    def options(self, **changes: Any) -> dict[str, Any]:
        return {
            "token": self._token, "url": self._server.url, "address": "127.0.0.1", "ca_path": str(self._pem), "validate_certs": True,
            "media": "always", "timeout": 10.0, "run_from": "controller", "state_dir": str(self.state_dir), **changes,
        }  # fmt: skip

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        """The process that asks for the probe."""
        self._server.seen.clear()
        self._asker = subprocess.Popen(
            [sys.executable, "-c", PROBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, PYTHONPATH=str(COLLECTIONS)),
        )  # fmt: skip
        assert self._asker.stdin
        self._asker.stdin.write(json.dumps(self.options(**changes)))
        self._asker.stdin.close()
        self._asker.stdin = None
        return self._asker

    def probe(self, **changes: Any) -> dict[str, Any]:
        out, errors = self.start(**changes).communicate(timeout=200)
        assert out, errors
        told: dict[str, Any] = json.loads(out)
        return told

    @property
    def asker(self) -> int:
        assert self._asker
        return self._asker.pid

    @property
    def child(self) -> int:
        """The process of its own that posts."""
        children = Path(f"/proc/{self.asker}/task/{self.asker}/children").read_text().split()
        return int(children[0])

    def stop(self) -> None:
        os.kill(self.child, signal.SIGTERM)


def ended(process: int, seconds: float = 60) -> bool:
    """Whether a process is over in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def left_in_database(box: Box, seconds: float = 15) -> tuple[str, str]:
    """(posts of probes, uploads of the account) once the jobs that delete had their time."""
    until = time.monotonic() + seconds
    while True:
        counts = box.psql(
            "SELECT (SELECT count(*) FROM statuses WHERE text LIKE 'fediops-probe-%') || ' ' || "
            "(SELECT count(*) FROM media_attachments m JOIN accounts a ON a.id = m.account_id WHERE a.domain IS NULL)"
        ).split()
        if counts == ["0", "0"] or time.monotonic() > until:
            return counts[0], counts[1]
        time.sleep(0.2)
