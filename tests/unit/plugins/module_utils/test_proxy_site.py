# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server block lets through, hands on and serves; what TRUSTED_PROXY_IP means, and how the proxy on this host is added to it."""

from __future__ import annotations

import os
import types

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils import _certificate, _nginx
from ansible_collections.fediops.mastodon.plugins.module_utils._change import run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import open_home, set_trusted_proxies
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import proxy_site
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import this_host, trusted_proxies

ROOT, NGINX = Owner("root", 0, 0, "/root", ""), Owner("www-data", 33, 33, "/", "")
# Made by openssl; the second is valid until after 2049, which is written in another way.
EXPIRED = """-----BEGIN CERTIFICATE-----
MIIBFzCBvgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1tYXN0b2Rvbi50ZXN0
MB4XDTI1MDEwMTAwMDAwMFoXDTI1MDQwMTAwMDAwMFowGDEWMBQGA1UEAwwNbWFz
dG9kb24udGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFEPCyO1HL3Crguj
VLQIgM1aAESQyhhWXrSkgfmmpCHZjntwRPzR1kjQDQ8bOHDjBj74x6pbogR6IAdc
cn6xvYQwCgYIKoZIzj0EAwIDSAAwRQIhAONinagYENNwlDzgRrJYQTDBkb0k5joS
E7HhSYwyWW4vAiBXzUhxrprNqvK0NqXMeIT6cyJ4Luu52eK6YmmrCmHKKg==
-----END CERTIFICATE-----"""
LATE = """-----BEGIN CERTIFICATE-----
MIIBjjCCATOgAwIBAgIUUu7fBOPyjbFQOpWIJZCVGTDn3jQwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQbWFzdG9kb24uZXhhbXBsZTAgFw0yNjExMjExNjQ0MzhaGA8y
MDgxMDgyNDE2NDQzOFowGzEZMBcGA1UEAwwQbWFzdG9kb24uZXhhbXBsZTBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABLRulgoV85segIV+UQwbP2GiJZeskoyGha8K
eSRZZcRmaonlLzwU+/oiJojnW/VRRGLMb8VJBvHNxq+qBBX6f2ejUzBRMB0GA1Ud
DgQWBBRTCdmvlcTSvqy246kai+PMtbqXBTAfBgNVHSMEGDAWgBRTCdmvlcTSvqy2
46kai+PMtbqXBTAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQDn
ArpoQ5VmJw8kqmfipIpSj5ytUXpRlhl0otVqxl7I4AIhAMIg1dvB4+dd7C05jfJT
Lg9sDZqmlFyGWz6veoRJ0Bo5
-----END CERTIFICATE-----"""


def place(text: str) -> _nginx.Statement:
    """The location in this configuration."""
    root = _nginx.load("/x", lambda _path: text, lambda _pattern: [])
    return next(each for each in root.walk() if each.name == "location")


@pytest.mark.parametrize(("pem", "epoch"), [(EXPIRED, 1743465600.0), (LATE, 3523279478.0)])
def test_until_when_a_certificate_holds(pem: str, epoch: float) -> None:
    der = _certificate.first_of("subject=/CN=x\n" + pem + "\n" + EXPIRED)
    assert der and _certificate.expires_epoch(der) == epoch


def test_what_is_no_certificate_tells_nothing() -> None:
    whole = _certificate.first_of(EXPIRED) or b""
    for der in (b"", b"\0", whole[:100], b"\x30\x84\xff\xff\xff\xff", whole[:4] + b"\0" * (len(whole) - 4)):
        assert _certificate.expires_epoch(der) is None
    for pem in ("", "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nMII"):
        assert _certificate.expires_epoch(_certificate.first_of(pem) or b"") is None


@pytest.mark.parametrize(
    ("server", "location", "limit"),
    [("", "", 1 << 20), ("client_max_body_size 99m;", "", 99 << 20), ("client_max_body_size 99m;", "client_max_body_size 512K;", 512 << 10),
     ("client_max_body_size 0;", "", 0), ("client_max_body_size 2G;", "", 2 << 30), ("client_max_body_size $x;", "", None)],
)  # fmt: skip
def test_how_much_is_let_through(server: str, location: str, limit: int | None) -> None:
    assert proxy_site.body_limit(place("http { server { %s location / { %s } } }" % (server, location))) == limit


def test_headers_of_a_block_end_the_inheritance_of_all() -> None:
    around = "http { server { proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto https; location / { %s } } }"
    assert proxy_site.headers([place(around % "")]) == {"host": "$host", "x_forwarded_proto": "https"}
    assert proxy_site.headers([place(around % "proxy_set_header x-forwarded-for $remote_addr;")]) == {"x_forwarded_for": "$remote_addr"}
    assert proxy_site.headers([place(around % ""), place(around % "proxy_set_header Host '';")]) == {}


@pytest.mark.parametrize(
    ("text", "loopback", "invalid"),
    [("127.0.0.1", True, []), ("203.0.113.4, ::1", False, []), ("10.0.0.0/8 127.0.0.0/8", True, []), ("0.0.0.0/0", True, []),
     ("10.127.0.1", False, []), ("proxy.example,127.0.0.1", True, ["proxy.example"])],
)  # fmt: skip
def test_which_proxies_are_trusted(text: str, loopback: bool, invalid: list[str]) -> None:
    assert trusted_proxies(text, this_host([])) == {"this_host": loopback, "invalid": invalid}


def test_from_where_a_proxy_comes_to_a_container() -> None:
    web = {"role": "web", "_gateways": ["172.18.0.1", "172.19.0.1"]}
    assert this_host([web, {"role": "streaming", "_gateways": ["10.0.0.1"]}]) == ["172.18.0.1", "172.19.0.1"]
    assert trusted_proxies("172.16.0.0/12", this_host([web]))["this_host"]
    assert not trusted_proxies("127.0.0.1", this_host([web]))["this_host"]


def planned(folder: Path, value: str, number: tuple[int, ...] = (4, 4, 0)) -> tuple[str, Change]:
    """What .env.production would be, and what would be restarted."""
    path = folder / ".env.production"
    path.write_text("# ours\nTRUSTED_PROXY_IP=%s # the balancer\nX=1\n" % value)
    units = [
        {"name": f"mastodon-{role}.service", "role": role, "shim": False, "intended": True, "pid": 1, "_env": {}}
        for role in ("web", "sidekiq", "streaming")
    ]
    install: dict[str, Any] = {
        "root": str(folder), "version": {"number": list(number)}, "units": units,
        "_files": {".env.production": {"keys": {"TRUSTED_PROXY_IP": value}}},
    }  # fmt: skip
    overlay: dict[str, Any] = {}
    change = Change(run.new_steps([{"fix": "x"}])[0], None, {"proxy": {"upstream_web_is_local": True}}, install, overlay)
    set_trusted_proxies.fix(change)
    return next((data.decode() for data in overlay.values() if isinstance(data, bytes)), ""), change


def test_this_host_is_added_to_the_trusted_proxies(tmp_path: Path) -> None:
    text, change = planned(tmp_path, "203.0.113.4")
    assert text == "# ours\nTRUSTED_PROXY_IP=203.0.113.4,127.0.0.1,::1 # the balancer\nX=1\n"
    assert change.asked.restart == ["mastodon-web.service", "mastodon-streaming.service"]
    assert "203.0.113.4 127.0.0.1 ::1" in planned(tmp_path, "203.0.113.4", (3, 4, 1))[0]
    text, change = planned(tmp_path, "127.0.0.0/8")
    assert (text, change.asked.restart) == ("", [])
    with pytest.raises(Refused, match="no address"):
        planned(tmp_path, "balancer")


@pytest.mark.parametrize(
    ("install", "folder"),
    [({"root": "/srv/live/"}, "/srv/live"), ({"root": "/opt/mastodon", "compose": {"directory": "/srv/social"}}, "/srv/social"), ({}, "")],
)
def test_where_the_files_of_this_host_are(install: dict[str, Any], folder: str) -> None:
    assert proxy_site.checkout_of(install) == folder
    text = "server { root /srv/social/public; } server { root /srv/live/public; }"
    servers = _nginx.load("/x", lambda _path: text, lambda _pattern: []).body
    assert proxy_site.public_of(install, servers) == (folder + "/public" if folder else "")


@pytest.mark.parametrize(("closed", "refused"), [("", True), ("live", False)])
def test_of_root_only_the_project_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str, refused: bool) -> None:
    """A compose project below /root: what else is in there is nobody's business."""
    root, here = tmp_path / "live", os.lstat(tmp_path)
    root.mkdir()
    monkeypatch.setattr(os, "lstat", lambda _path: types.SimpleNamespace(st_uid=0, st_gid=0, st_mode=here.st_mode))
    install = {"deployment": "docker", "compose": {"directory": str(root)}}
    change = types.SimpleNamespace(install=install, host=types.SimpleNamespace(user=lambda _uid: ROOT))
    owner = open_home._holder(change)  # type: ignore[arg-type]
    assert owner == ROOT
    if refused:
        with pytest.raises(Refused, match="is not root's"):
            open_home._demand_ours(change, str(tmp_path / closed), owner, NGINX)  # type: ignore[arg-type]
    else:
        open_home._demand_ours(change, str(tmp_path / closed), owner, NGINX)  # type: ignore[arg-type]
