# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx's configuration is edited where a statement stands, and every other byte stays; what is others' is not touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils import _nginx
from ansible_collections.fediops.mastodon.plugins.module_utils._change import run
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import enable_request_log, raise_proxy_timeouts
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import proxy

MAIN = """\
events {}
http {
  proxy_read_timeout 3s; # too short
  include %s/conf.d/*.conf;
  include %s/sites/*;
}
"""
SITE = """\
upstream backend { server 127.0.0.1:3000; }
upstream streaming { server 127.0.0.1:4000; }
server { listen 80; server_name mastodon.example; return 301 https://$host$request_uri; }
server {
  listen 443 ssl;
  server_name mastodon.example; # proxy_pass http://nobody; }
  %(server)s
  location ^~ /api/v1/streaming { proxy_pass http://streaming; }
  location /monitor { proxy_pass http://127.0.0.1:9000; }
\tlocation @proxy {
\t\tadd_header X "; } proxy_pass";
\t\tproxy_pass http://backend;   # here
\t\t%(location)s
\t}
}
"""
INSTALL: dict[str, Any] = {
    "domain": "mastodon.example", "root": "/home/mastodon/live",
    "units": [
        {"name": "nginx.service", "role": "proxy", "shim": False, "active_state": "active", "_argv": ["/usr/sbin/nginx"]},
        {"name": "mastodon-web.service", "role": "web", "shim": False, "listen": ["127.0.0.1:3000"]},
    ],
}  # fmt: skip


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sites").mkdir()
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "nginx.conf").write_text(MAIN % (tmp_path, tmp_path))
    monkeypatch.setattr(proxy, "MAIN_FILE", str(tmp_path / "nginx.conf"))
    return tmp_path


def site(etc: Path, server: str = "", location: str = "") -> str:
    text = SITE % {"server": server, "location": location}
    (etc / "sites" / "mastodon").write_text(text)
    return text


def planned(fix: Any, kind: str = "nginx", **options: str) -> tuple[dict[str, Any], Change]:
    """What would be written, by file."""
    overlay: dict[str, Any] = {}
    change = Change(run.new_steps([{"fix": "x", "options": options}])[0], None, {"proxy": {"kind": kind}}, INSTALL, overlay)
    fix.fix(change)
    return {path: data.decode() for path, data in overlay.items() if isinstance(data, bytes)}, change


def test_timeouts_are_put_in_front_of_the_statement_and_all_else_stays(etc: Path) -> None:
    text = site(etc)
    written, change = planned(raise_proxy_timeouts)
    head, tail = text.split("proxy_pass http://backend;")
    added = "proxy_read_timeout 120s;\n\t\tproxy_send_timeout 120s;\n\t\t"
    assert written == {str(etc / "sites" / "mastodon"): head + added + "proxy_pass http://backend;" + tail}
    assert change.asked.reload == ["nginx.service"]
    (etc / "sites" / "mastodon").write_text(written[str(etc / "sites" / "mastodon")])
    again, change = planned(raise_proxy_timeouts)
    assert (again, change.step["changes"], change.asked.reload) == ({}, [], [])


@pytest.mark.parametrize(
    ("server", "location", "changed"),
    [
        ("proxy_read_timeout  30; proxy_send_timeout 10m;", "", [("proxy_read_timeout  30;", "proxy_read_timeout 120s;")]),
        ("proxy_send_timeout 2m;", "proxy_read_timeout\n  '500ms' ;", [("proxy_read_timeout\n  '500ms' ;", "proxy_read_timeout 120s;")]),
        ("proxy_read_timeout 1s;", "proxy_read_timeout 1h; proxy_send_timeout 120;", []),
    ],
)
def test_a_directive_is_changed_where_it_stands(etc: Path, server: str, location: str, changed: list[tuple[str, str]]) -> None:
    text = site(etc, server, location)
    for old, new in changed:
        text = text.replace(old, new)
    assert planned(raise_proxy_timeouts)[0] == ({str(etc / "sites" / "mastodon"): text} if changed else {})


def test_an_included_file_is_edited_there_unless_others_read_it_too(etc: Path) -> None:
    (etc / "params").write_text("proxy_read_timeout 5s;\nproxy_send_timeout 5m;\n")
    site(etc, location=f"include {etc}/params;")
    assert planned(raise_proxy_timeouts)[0] == {str(etc / "params"): "proxy_read_timeout 120s;\nproxy_send_timeout 5m;\n"}
    (etc / "sites" / "other").write_text(
        f"server {{ server_name other.example; location / {{ include {etc}/params; proxy_pass http://127.0.0.1:9; }} }}"
    )
    with pytest.raises(Refused, match=r"also included by the server block other\.example"):
        planned(raise_proxy_timeouts)


def test_a_site_that_is_a_link_into_the_checkout_is_refused(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site(etc)
    (etc / "live" / "dist").mkdir(parents=True)
    (etc / "sites" / "mastodon").rename(etc / "live" / "dist" / "nginx.conf")
    (etc / "sites" / "mastodon").symlink_to(etc / "live" / "dist" / "nginx.conf")
    monkeypatch.setitem(INSTALL, "root", str(etc / "live"))
    with pytest.raises(Refused, match="part of the checkout"):
        planned(raise_proxy_timeouts)


@pytest.mark.parametrize("kind", ["caddy", "apache2", "none"])
def test_other_proxies_are_refused_with_advice(etc: Path, kind: str) -> None:
    site(etc)
    with pytest.raises(Refused, match="wait 120 s"):
        planned(raise_proxy_timeouts, kind)


def test_request_log_keeps_what_is_logged_today(etc: Path) -> None:
    text = site(etc)
    main = (etc / "nginx.conf").read_text().replace("http {", "http {\n  access_log /var/log/nginx/all.log combined buffer=32k;")
    (etc / "nginx.conf").write_text(main)
    written, change = planned(enable_request_log)
    format_file = str(etc / enable_request_log.FORMAT_FILE)
    assert set(written) == {str(etc / "sites" / "mastodon"), format_file}
    both = "access_log /var/log/nginx/all.log combined buffer=32k;\n  access_log /var/log/nginx/mastodon_requests.log mastodon;\n  "
    assert written[str(etc / "sites" / "mastodon")] == text.replace("listen 443 ssl;", both + "listen 443 ssl;")
    assert "$args" not in written[format_file] and "$remote_addr" not in written[format_file]
    for path, content in written.items():
        Path(path).write_text(content)
    again, change = planned(enable_request_log)
    assert (again, change.step["changes"]) == ({}, [])
    root = _nginx.load(proxy.MAIN_FILE, lambda path: Path(path).read_text(), change.host.glob)
    assert proxy.request_log(root, proxy.mastodon_servers(root, INSTALL)) == {
        "path": enable_request_log.LOG_FILE, "format": "mastodon", "complete": True,
    }  # fmt: skip


def test_request_log_stands_beside_the_log_of_the_server_block(etc: Path) -> None:
    text = site(etc, "access_log /var/log/nginx/mastodon.log;")
    ours = "access_log /var/log/nginx/mastodon_requests.log mastodon;\n  "
    assert planned(enable_request_log)[0][str(etc / "sites" / "mastodon")] == text.replace("  access_log", "  " + ours + "access_log")


def test_a_format_of_that_name_is_used_if_it_tells_enough_and_left_alone_if_not(etc: Path) -> None:
    site(etc)
    (etc / "conf.d" / "own.conf").write_text("log_format mastodon '$status';\n")
    written, _change = planned(enable_request_log)
    assert "log_format mastodon_requests\n" in written[str(etc / enable_request_log.FORMAT_FILE)]
    assert "mastodon_requests.log mastodon_requests;" in written[str(etc / "sites" / "mastodon")]
    (etc / "conf.d" / "own.conf").write_text("log_format mastodon '%s';\n" % " ".join(proxy.REQUEST_LOG_VARIABLES))
    assert set(planned(enable_request_log)[0]) == {str(etc / "sites" / "mastodon")}


def test_logging_switched_off_on_purpose_stays_off(etc: Path) -> None:
    site(etc, "access_log off;")
    with pytest.raises(Refused, match="switched logging off on purpose .*sites/mastodon:7"):
        planned(enable_request_log)


def test_lua_variables_and_loops_of_includes() -> None:
    files = {
        "/n/a": "http { include b; server { content_by_lua_block { local x = '}' -- }\n } root ${x}/y; } }",
        "/n/b": "include b; map $a $b { default 1; }",
    }
    root = _nginx.load("/n/a", files.get, lambda path: [path] if path in files else [])
    server = proxy.servers(root)[0]
    assert [each.words for each in server.body] == [["content_by_lua_block"], ["root", "${x}/y"]]
    for each in root.walk():
        text = files[each.file]
        assert text[each.start :].startswith(each.name) and text[each.end - 1] in ";}"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("120", 120), ("120s", 120), ("1m 30s", 90), ("500ms", 0.5), ("1h", 3600), ("$x", None), ("", None), ("1x", None)],
)
def test_times(value: str, seconds: float | None) -> None:
    assert _nginx.seconds(value) == seconds
