# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx's configuration as nginx reads it: includes, quotes, comments, and which server block is Mastodon's."""

from __future__ import annotations

import time

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import proxy

MAIN = """
user www-data; # comment; with { braces }
events { worker_connections 768; }
http {
  proxy_read_timeout 90s;
  log_format x '$remote_addr { "not a block" }';
  include %s/sites/*;
}
"""
SITE = """
upstream backend { server 127.0.0.1:3000 fail_timeout=0; }
upstream streaming { least_conn; server 127.0.0.1:4000 fail_timeout=0; server 127.0.0.1:4001; }
server { listen 80; server_name mastodon.example; return 301 https://$host$request_uri; }
server {
  listen 443 ssl; server_name mastodon.example;
  root /home/mastodon/live/public;
  location / { try_files $uri @proxy; }
  location @proxy { proxy_pass http://backend; %s }
  location ^~ /api/v1/streaming { proxy_pass http://streaming; }
}
"""
OTHER = "server { server_name other.example; location / { proxy_read_timeout 5s; proxy_pass http://127.0.0.1:9000; } }"
NGINX = {"name": "nginx.service", "role": "proxy", "active_state": "active"}
INSTALL: dict[str, Any] = {"domain": "mastodon.example", "root": "/home/mastodon/live", "units": [NGINX]}


@pytest.mark.parametrize(("directive", "seconds"), [("", 90), ("proxy_read_timeout 2m;", 120), ("proxy_read_timeout 500ms;", 0.5)])
def test_nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directive: str, seconds: float) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "mastodon").write_text(SITE % directive)
    (tmp_path / "sites" / "other").write_text(OTHER)
    (tmp_path / "nginx.conf").write_text(MAIN % tmp_path)
    monkeypatch.setattr(proxy, "MAIN_FILE", str(tmp_path / "nginx.conf"))
    facts = proxy.observe(Host(time.monotonic() + 5), INSTALL)
    assert facts == {
        "kind": "nginx", "running": True, "read_timeout_seconds": seconds, "send_timeout_seconds": 60,
        "upstream_web": ["127.0.0.1:3000"], "upstream_streaming": ["127.0.0.1:4000", "127.0.0.1:4001"], "upstream_web_is_local": True,
        "max_body_bytes": 1 << 20, "headers": {},
        "changed_epoch": max(path.stat().st_mtime for path in tmp_path.rglob("*") if path.is_file()),
    }  # fmt: skip


def test_other_proxies_are_named_only() -> None:
    units = [{"name": "caddy.service", "role": "proxy", "active_state": "active"}]
    assert proxy.observe(Host(time.monotonic() + 5), {**INSTALL, "units": units}) == {"kind": "caddy", "running": True}


def test_a_socket_without_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "mastodon").write_text(
        "error_log /a.log; server { server_name mastodon.example; location / { proxy_pass http://unix:/run/puma.sock:/; } }")
    (tmp_path / "nginx.conf").write_text("error_log /b.log; " + MAIN % tmp_path)
    monkeypatch.setattr(proxy, "MAIN_FILE", str(tmp_path / "nginx.conf"))
    host = Host(time.monotonic() + 5)
    assert proxy.observe(host, INSTALL)["upstream_web"] == ["/run/puma.sock"]
    assert proxy.logs_of(host, INSTALL) == {"names": {"mastodon.example"}, "upstreams": {"/run/puma.sock"}, "error": ["/a.log"],
                                            "access": ["/var/log/nginx/access.log"]}  # fmt: skip
    assert proxy.logs_of(host, {**INSTALL, "domain": "other", "root": ""}) is not None  # the only block that passes requests on


@pytest.mark.parametrize(("site", "known"), [(SITE % "", True), (OTHER, False)])
def test_a_proxy_on_a_host_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, known: bool) -> None:
    """It may as well stand before something else: only what has a streaming server behind it is Mastodon's."""
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "one").write_text(site)
    (tmp_path / "nginx.conf").write_text(MAIN % tmp_path)
    monkeypatch.setattr(proxy, "MAIN_FILE", str(tmp_path / "nginx.conf"))
    facts = proxy.observe(Host(time.monotonic() + 5), {"found": False, "units": [NGINX], "roles": ["proxy"]})
    assert (facts["kind"], facts.get("upstream_streaming")) == ("nginx", ["127.0.0.1:4000", "127.0.0.1:4001"] if known else None)
