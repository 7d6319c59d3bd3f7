# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody has a name for is shown and not passed over; what anybody can cause is neither."""

from __future__ import annotations

import time

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _diagnosis
from ansible_collections.fediops.mastodon.plugins.plugin_utils._log_file import Case
from ansible_collections.fediops.mastodon.plugins.plugin_utils._pasted import facts_of_case

CATALOGUE = _catalogue.load()
SIGNATURES = _catalogue.signatures(CATALOGUE)
NOW = "2024-01-01 00:00:00.000 UTC [12] "


def explained(where: str, *lines: str) -> tuple[str, list[str], list[str]]:
    """(verdict, ids of what was found, classes of what was not)"""
    facts = facts_of_case(Case("log", "\n".join(lines), where, "", ""), SIGNATURES)
    host = _diagnosis.diagnose({"log": facts}, CATALOGUE, now=time.time(), run={})["hosts"]["log"]
    return host["verdict"], [one["id"] for one in host["findings"]], [one["class"] for one in host.get("unclassified", ())]


@pytest.mark.parametrize(
    ("where", "line", "name"),
    [
        ("streaming", '{"level":"error","time":1,"err":{"type":"TypeError","message":"x is odd"},"msg":"y"}', "TypeError"),
        ("streaming", "ERR! TypeError: x is odd", "TypeError"),
        ("streaming", "ReferenceError: foo is not defined", "ReferenceError"),
        ("postgres", NOW + "FATAL:  could not frobnicate 17 things", "FATAL: could not frobnicate … things"),
        ("pgbouncer", NOW + "ERROR broken auth file", "broken auth file"),
        ("kernel", "INFO: task puma:123 blocked for more than 120 seconds.", "INFO: task … blocked for more than … seconds."),
        ("kernel", "EXT4-fs error (device sda1): ext4_find:1: inode #7: odd", "EXT4-fs error (device … … inode … odd"),
        ("kernel", "BUG: unable to handle page fault for address: 00", "BUG: unable to handle page fault for address: …"),
        ("command", "Build with Vite failed!", "Build with Vite failed!"),
        ("command", "bin/tootctl:8:in '<main>': odd (Foo::BarError)", "Foo::BarError"),
        ("web", "[7] ! Terminating timed out worker (Worker 0 died)", "! Terminating timed out worker (Worker … died)"),
        ("web", '2026-01-02 03:04:05 +0000 Rack app ("GET /a" - (::1)): #<Foo::OddError: odd>', "Foo::OddError"),
        ("nginx", "2026/01/02 03:04:05 [emerg] 1#1: frobnicate() failed", "frobnicate() failed"),
        ("nginx", '2026/01/02 03:04:05 [crit] 1#1: *9 pread() failed (5: Input/output error)', "pread() failed … Input/output error)"),
        ("postgres", NOW + 'ERROR:  could not stat file "a/1": Input/output error', "ERROR: could not stat file …: Input/output error"),
        ("kernel", "EXT4-fs (sda1): Remounting filesystem read-only", "EXT4-fs … Remounting filesystem read-only"),
        ("streaming", '{"level":"fatal","time":1,"msg":"it ends"}', "it ends"),
        ("kernel", "blk_update_request: I/O error, dev sda, sector 2048", "blk_update_request: I/O error, dev sda, sector …"),
    ],
)
def test_unknown_trouble_is_shown(where: str, line: str, name: str) -> None:
    assert explained(where, line) == ("unclassified", [], [name])


@pytest.mark.parametrize("task", ["rails", "rake", "bin/rails"])
def test_what_a_task_raises_is_shown(task: str) -> None:
    lines = [f"{task} aborted!", "Foo::BarError: odd", "/home/mastodon/live/lib/tasks/mastodon.rake:480:in 'block'"]
    assert explained("terminal", *lines) == ("unclassified", [], ["Foo::BarError"])


@pytest.mark.parametrize(
    "line",
    [
        "2026/01/02 03:04:05 [crit] 1#1: *9 SSL_do_handshake() failed (SSL: error:0A00006C) while SSL handshaking, client: 192.0.2.1",
        "2026/01/02 03:04:05 [alert] 1#1: *9 open socket #3 left in connection 5",
        "2026/01/02 03:04:05 [alert] 1#1: ignore long locked inactive cache entry 8c3d, count:1",
        "[x:y] [pid 1] AH01630: client denied by server configuration: /var/www/html/.ht/Input/output error",
        '2026/01/02 03:04:05 [crit] 1#1: *9 stat() "/var/www/.git" failed (13: Permission denied), client: 192.0.2.1',
    ],
)
def test_what_visitors_do_to_nginx_is_not(line: str) -> None:
    assert explained("nginx", line)[2] == []


def test_lines_that_differ_in_numbers_only_are_one() -> None:
    lines = [f"EXT4-fs error (device sda1): ext4_lookup:1855: inode #{number}: comm ruby: odd" for number in range(5)]
    assert len(explained("kernel", *lines)[2]) == 1


@pytest.mark.parametrize(
    "line",
    [
        'FATAL:  password authentication failed for user "postgres"',
        'FATAL:  no such thing as "\u202ex"',
        "FATAL:  terminating connection due to administrator command",
        "FATAL:  Verbindung wird abgebrochen aufgrund von Anweisung des Administrators",
        "FATAL:  le système de bases de données démarre",
        "LOG:  checkpoint starting: time",
        'FATAL:  no pg_hba.conf entry for host "203.0.113.9", user "Input/output error", database "postgres", no encryption',
        'FATAL:  password authentication failed for user "x: Input/output error"',
        'ERROR:  invalid input syntax for type bigint: "could not read file: Input/output error"',
    ],
)
def test_what_a_client_can_cause_is_not(line: str) -> None:
    assert explained("postgres", NOW + line) == ("clear", [], [])


def test_what_an_issue_that_was_found_has_a_weak_signature_for_is_its() -> None:
    lines = ["NoMethodError: undefined method `url' for nil", "/home/mastodon/live/app/models/preview_card.rb:210:in `image'"]
    verdict, found, unknown = explained("sidekiq", *(f"2024-01-01T00:00:00.000Z pid=1 tid=a WARN: {line}" for line in lines))
    assert (verdict, found, unknown) == ("faults", ["app_bug_fixed_upstream"], [])


@pytest.mark.parametrize(
    "addresses",
    ["#<PG::IndexCorrupted: x, 192.0.2.1", "1.1.1.1)): #<PG::IndexCorrupted: x", "! Terminating timed out worker"],
)
def test_what_a_visitor_calls_its_address_names_nothing(addresses: str) -> None:
    line = f'2026-01-02 03:04:05 +0000 Rack app ("GET /a" - ({addresses})): #<ArgumentError: invalid %-encoding>'
    assert explained("web", line) == ("clear", [], [])


@pytest.mark.parametrize(
    ("where", "lines"),
    [
        ("nginx", ['192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "PROPFIND / HTTP/1.1" 501 0 "-" "x"']),
        ("nginx", ['192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET /media_proxy/1/original HTTP/2.0" 503 0 "-" "x"']),
        ("web", ["method=GET path=/media_proxy/1/original format=html controller=MediaProxyController action=show status=503 duration=1"]),
        ("terminal", ["$ resolvectl status", "       DNS Servers: 1.1.1.1", "                    8.8.8.8", "                    9.9.9.9"]),
        ("terminal", ["# SHOW server_encoding;", " UTF8", "# SHOW client_encoding;", " SQL_ASCII"]),
        ("terminal", ["Sidekiq::Stats: processed=1", "Parser::Warning: foo", "Failed with errors in 0 files"]),
    ],
)
def test_what_proves_nothing_is_clear(where: str, lines: list[str]) -> None:
    assert explained(where, *lines) == ("clear", [], [])


def test_an_error_of_a_command_is_shown_beside_what_was_found() -> None:
    failed = ["$ bin/rails x", "rails aborted!", "Foo::BarError: odd"]
    full = ["$ df -h", "Filesystem Size Used Avail Use% Mounted on", "/dev/vda1 40G 40G 0 100% /"]
    verdict, found, unknown = explained("terminal", *failed, *full)
    assert (verdict, found, unknown) == ("faults", ["disk_full"], ["Foo::BarError"])


@pytest.mark.parametrize(("deployment", "noted"), [("docker", True), ("systemd", False), ("", False)])
def test_advice_for_units_is_translated_where_containers_wrote_the_lines(deployment: str, noted: bool) -> None:
    line = "WARN: PG::UndefinedColumn: ERROR:  column statuses.odd_id does not exist"
    case = Case("log", line, "sidekiq", "", deployment)
    facts = facts_of_case(case, SIGNATURES)
    finding = _diagnosis.diagnose({"log": facts}, CATALOGUE, now=time.time(), run={})["hosts"]["log"]["findings"][0]
    told = finding.get("note", {})
    assert ("docker compose restart" in told.get("en", ""), "fichier compose" in told.get("fr", "")) == (noted, noted)
