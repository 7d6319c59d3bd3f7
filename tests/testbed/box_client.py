# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The visitor's side of a box: requests through nginx."""

from __future__ import annotations

import http.client
import json
import secrets
import ssl

from typing import Any, NamedTuple

from box_machine import Machine

DOMAIN = "mastodon.test"
# Known to everyone on purpose: boxes live on the machine's own bridge, for minutes.
TOKEN = "standin-posting-token"


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


def form_of_file(data: bytes, filename: str) -> tuple[bytes, str]:
    """Body and type of a form with one file."""
    edge = secrets.token_hex(12)
    disposition = f'Content-Disposition: form-data; name="file"; filename="{filename}"'
    head = f"--{edge}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
    return head.encode() + data + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


class Client(Machine):
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
        body, kind = form_of_file(data, filename)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        return self.http("POST", f"/api/{api}/media", body, headers, timeout)
