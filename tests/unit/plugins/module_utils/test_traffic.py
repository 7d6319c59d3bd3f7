# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What requests tell of the proxy and the database, and backtraces of the service that failed."""

from __future__ import annotations

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._libraries import NEAR, Libraries
from ansible_collections.fediops.mastodon.plugins.module_utils._line import Line
from ansible_collections.fediops.mastodon.plugins.module_utils._remotes import Remotes
from ansible_collections.fediops.mastodon.plugins.module_utils._tally import Tally

REQUEST = "[r] method=GET path={path} format=html controller=A action=b status={status} duration={duration} view=1.0 db={db}"


def counted(*lines: str) -> Tally:
    tally = Tally({})
    for line in lines:
        tally.add("web", "mastodon-web.service", 1.0, line.encode())
    return tally


def test_slow_database_is_counted_in_every_answer() -> None:
    lines = [
        REQUEST.format(path="/a", status=status, duration=duration, db=db)
        for status, db, duration in (
            (200, "5000.01", "9000.10"),
            (500, "13042.11", "x"),
            (200, "8123.55", "73904.12"),  # what took so long was something else
            (200, "4999.99", "5100.00"),
            (200, "0.00", "9.10"),
            (200, "x.1", "9.10"),
        )
    ]
    assert counted(*lines).result()["requests"]["slow_database"] == 2


def test_what_belongs_to_others_reached_the_web_process() -> None:
    lines = [
        REQUEST.format(path="/api/v1/streaming/user", status=404, db="0.0", duration="9.1"),
        REQUEST.format(path="/api/v1/streaming", status=301, db="0.0", duration="9.1"),
        REQUEST.format(path="/packs/js/a.js", status=404, db="0.0", duration="9.1"),
        REQUEST.format(path="/packs/js/a.js", status=200, db="0.0", duration="9.1"),
        REQUEST.format(path="/x?path=/packs/", status=404, db="0.0", duration="9.1"),
    ]
    requests = counted(*lines).result()["requests"]
    assert (requests["at_streaming"], requests["static_missing"]) == (1, 1)


@pytest.mark.parametrize(
    ("hits", "shared"),
    [
        ([("172.18.0.1", "/about")], 1),
        ([("::ffff:10.0.0.2", "/about")], 1),
        ([("198.51.100.7", "/inbox"), ("198.51.100.7", "/api/v1/timelines/home")], 1),
        ([("198.51.100.7", "/inbox"), ("203.0.113.9", "/api/v1/timelines/home")], 0),
        ([("198.51.100.7", "/api/v1/instance"), ("198.51.100.7", "/inbox")], 0),  # servers read that as well
        ([("198.51.100.7", "/auth/sign_in")] * 9, 0),
        ([("999.1.1.1", "/inbox")], 0),
    ],
)
def test_one_address_for_everybody(hits: list[tuple[str, str]], shared: int) -> None:
    limits = counted(*(f"[r] Rate limit hit (throttle): {address} GET {path}" for address, path in hits)).result()["rate_limits"]
    assert limits == {"count": len(hits), "addresses": len({address for address, _path in hits}), "shared": shared}


def test_programs_that_a_proxy_refused() -> None:
    tally = Tally({})
    server, person = "http.rb/5.1.1 (Mastodon/4.2.3; +https://o.example/)", "Mozilla/5.0 (X11; Linux x86_64)"
    for address, agent in (("192.0.2.1", server), ("192.0.2.2", person), ("192.0.2.1", "curl/8"), ("192.0.2.3", server)):
        tally.traffic.refused(address, agent)
    assert tally.result()["rate_limits"] == {"count": 4, "addresses": 3, "shared": 0}
    tally.traffic.refused("192.0.2.2", "Pleroma 2.4.2; https://p.example <a@p.example>")
    assert tally.result()["rate_limits"]["shared"] == 1


def test_a_backtrace_names_the_service() -> None:
    libraries = Libraries()
    libraries.spoke("w/1", "x")
    libraries.told("w/1", Line("text", "x", id="r1"), "SocketError: getaddrinfo")
    frame = Line("frame", "/srv/gems/redis-client-0.22/lib/redis_client.rb:1:in `connect'", id="r1")
    assert libraries.frame("w/1", frame._replace(id="r2")) == ""
    assert libraries.frame("w/1", frame._replace(text="/usr/lib/ruby/3.0.0/socket.rb:1")) == ""
    assert libraries.frame("w/1", frame) == "SocketError: getaddrinfo [redis]"
    assert libraries.frame("w/1", frame) == ""  # told once


def test_who_called_the_caller_says_nothing() -> None:
    libraries = Libraries()
    libraries.spoke("w/1", "x")
    libraries.told("w/1", Line("text", "x"), "SocketError")
    for _line in range(NEAR + 1):
        libraries.frame("w/1", Line("frame", "app/a.rb:1"))
    assert libraries.frame("w/1", Line("frame", "/usr/lib/ruby/3.0.0/net/smtp.rb:5")) == ""


def test_a_backtrace_that_nothing_was_said_before() -> None:
    libraries = Libraries()
    frame = Line("frame", "    from /usr/lib/ruby/3.0.0/net/smtp.rb:5:in `x'")
    libraries.spoke("w/1", "$ bin/tootctl media remove")  # typed
    assert libraries.frame("w/1", frame) == "frame: /usr/lib/ruby/3.0.0/net/smtp.rb:5:in `x'"
    libraries.spoke("w/1", "method=GET path=/ status=500 error='ArgumentError: 'x")  # the next line may be a stranger's
    assert libraries.frame("w/1", frame) == ""
    assert libraries.frame("w/2", frame) != ""


def test_a_mail_relay_is_no_remote_server() -> None:
    remotes = Remotes()
    remotes.add("OpenSSL::SSL::SSLError", "SSL_connect returned=1 errno=0 peeraddr=192.0.2.4:587 state=error: certificate verify failed")
    remotes.add("Mastodon::UnexpectedResponseError", "https://a.example/inbox returned code 401")
    remotes.add("OpenSSL::SSL::SSLError", "SSL_connect peeraddr=192.0.2.5:443 certificate verify failed (certificate is not yet valid)")
    found = {kind: entry["hosts"] for kind, entry in remotes.result().items() if entry["hosts"]}
    assert found == {"unauthorized": 1, "not_yet_valid": 1}
