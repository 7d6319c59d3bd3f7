# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines alone: who wrote them, what they prove, and files that are damaged."""

from __future__ import annotations

import gzip
import time

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._lines import strip_prefix
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _catalogue, _diagnosis
from ansible_collections.fediops.mastodon.plugins.plugin_utils._log_file import LINE_BYTES, Case, Lines, LogError, cases
from ansible_collections.fediops.mastodon.plugins.plugin_utils._origins import Origins, origin_of_whole
from ansible_collections.fediops.mastodon.plugins.plugin_utils._pasted import facts_of_case, facts_of_log, version_of

CATALOGUE = _catalogue.load()
SIGNATURES = _catalogue.signatures(CATALOGUE)
RID = "0a61dd31-49d7-4650-81a5-1f8ba24fd193"


def explained(lines: str, where: str = "", version: str = "", deployment: str = "") -> dict[str, Any]:
    facts = facts_of_case(Case("log", lines, where, version, deployment), SIGNATURES)
    host: dict[str, Any] = _diagnosis.diagnose({"log": facts}, CATALOGUE, now=time.time(), run={})["hosts"]["log"]
    return host


def roots(host: dict[str, Any]) -> list[str]:
    return [finding["id"] for finding in host["findings"] if finding["rank"] == 1]


@pytest.mark.parametrize(
    ("line", "whole", "origin"),
    [
        ("web-1  | => Booting Puma", "auto", "web"),
        ("mastodon-sidekiq-1  | anything", "auto", "sidekiq"),
        ("db_1 | 2026-01-02 03:04:05.678 UTC [1] FATAL:  x", "auto", "database"),
        ("redis-1  | 1:M 02 Jan 2026 03:04:05.678 # x", "auto", "redis"),
        ("Jan 02 03:04:05 host systemd[1]: mastodon-web.service: Failed with result 'exit-code'.", "auto", "system"),
        ("Jan 02 03:04:05 host bundle[7]: 2026-01-02T03:04:05.678Z pid=7 tid=abc INFO: x", "auto", "sidekiq"),
        ("Jan 02 03:04:05 host bundle[7]: something", "sidekiq", "sidekiq"),
        ("Jan 02 03:04:05 host kernel: Out of memory: Killed process 1 (ruby)", "auto", "kernel"),
        ("2026/01/02 03:04:05 [error] 9#9: *1 x", "command", "proxy"),
        (f"[{RID}] method=GET path=/ status=500", "auto", "web"),
        ('{"level":50,"time":1767323045678,"msg":"x"}', "auto", "streaming"),
        ('{"level":"error","time":1,"name":"streaming","msg":"x"}', "auto", "streaming"),
        ("Error: connect ECONNREFUSED 127.0.0.1:5432", "auto", "streaming"),
        ("Error: connect ECONNREFUSED 127.0.0.1:443", "command", "command"),
        ('[crit] stat() "/home/mastodon/live/public/a" failed (13: Permission denied)', "auto", "proxy"),
        ("upstream timed out (110: Connection timed out) while x", "auto", "proxy"),
        ("[core:error] [pid 3843] (13)Permission denied: AH00035: x", "auto", "proxy"),
        ("2023/01/01 10:00:00.123\tERROR\thttp.log.error\tx", "auto", "proxy"),
        ("LOG:  duration: 3224.768 ms  execute <unnamed>: SELECT 1", "auto", "database"),
        ("rails aborted!", "auto", "command"),
        ("anything", "database", "database"),
    ],
)
def test_who_wrote_a_line(line: str, whole: str, origin: str) -> None:
    assert Origins(whole).of(strip_prefix(line)) == origin


def test_a_line_goes_on_with_the_one_before() -> None:
    origins = Origins()
    assert origins.of(strip_prefix(f"[{RID}] Errno::EACCES (Permission denied):")) == "web"
    assert origins.of(strip_prefix("app/models/status.rb:12:in `save'")) == "web"
    assert origins.of(strip_prefix("$ bin/tootctl media remove")) == "command"


@pytest.mark.parametrize(
    ("where", "origin"),
    [("journal:mastodon-web", "web"), ("command output of rails db:migrate", "command"), ("nginx error log", "proxy"), ("", "auto")],
)
def test_what_is_said_of_a_whole_log(where: str, origin: str) -> None:
    assert origin_of_whole(where) == origin


@pytest.mark.parametrize(
    ("text", "number"),
    [("4.3.2", [4, 3, 2]), ("v4.4.0-alpha.1+glitch", [4, 4, 0]), ("hometown 1.0.6+3.5.2", [3, 5, 2]), ("2.4.0", []), ("", []), ("x", [])],
)
def test_version(text: str, number: list[int]) -> None:
    assert version_of(text) == number


def test_cause_before_symptom() -> None:
    host = explained(
        f"""[{RID}] Errno::ENOSPC (No space left on device @ rb_sysopen - /home/mastodon/live/public/system/x):
2026-01-02T03:04:05.678Z pid=7 tid=abc ERROR: heartbeat: MISCONF Redis is configured to save RDB snapshots"""
    )
    assert roots(host) == ["disk_full"] and host["verdict"] == "faults"
    assert "redis_misconf_disk" in [finding["id"] for finding in host["findings"]]


def test_the_severity_of_sidekiq_is_not_that_of_postgresql() -> None:
    line = "2026-01-02T03:04:05.678Z pid=7 tid=abc WARN: PG::UndefinedColumn: ERROR:  column accounts.foo does not exist"
    assert roots(explained(line)) == ["pending_migrations"]


def test_nothing_wrong_is_clear_and_noise_is_told() -> None:
    host = explained(f"[{RID}] method=GET path=/ format=html controller=HomeController action=index status=200 duration=5.0")
    assert (host["verdict"], host["findings"], host["unknown"]) == ("clear", [], [])
    noisy = explained(f'[{RID}] ActionController::RoutingError (No route matches [GET] "/wp-login.php"):')
    assert noisy["verdict"] == "clear" and [entry["id"] for entry in noisy["noise"]] == ["not_a_server_fault"]


def test_an_error_that_nobody_knows_is_unclassified() -> None:
    host = explained(f"[{RID}] Acme::FrobnicationError (no frob):\n[{RID}] app/models/frob.rb:12:in `frob'", "journal:mastodon-web")
    assert host["verdict"] == "unclassified"
    assert [(each["class"], each["frame"]) for each in host["unclassified"]] == [("Acme::FrobnicationError", "app/models/frob.rb:12")]


def test_one_dead_remote_is_noise_and_many_are_ours() -> None:
    def failing(number: int) -> str:
        line = "2026-01-02T03:04:0{0}.678Z pid=7 tid=abc{0} WARN: HTTP::TimeoutError: Read timed out after 10 seconds on https://r{0}.example/inbox"
        return "\n".join(line.format(each) for each in range(number))

    assert explained(failing(1))["verdict"] == "clear"
    assert roots(explained(failing(6))) == ["outbound_network_broken"]


def test_hostile_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\x00\xff\x1b]0;x\x07" * 1000 + b"\n" + b"a" * (20 << 20) + b"\n{{ 1/0 }}\nErrno::ENOSPC: No space left on device\n")
    lines = Lines(path)
    assert max(map(len, lines)) <= LINE_BYTES
    facts = facts_of_log(lines, "log", SIGNATURES, "sidekiq")
    assert "disk_full.no_space" in facts["logs"]["signatures"] and sum(each["lines"] for each in facts["logs"]["sources"]) == 4


def test_a_cut_off_gzip_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"".join(b"line %d\n" % number for number in range(100000)))[:-5000])
    lines = Lines(path)
    assert len(list(lines)) > 1000 and "cut off" in lines.truncated


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("cases: []", "hold no list"),
        ("cases: [{id: a}]", "lines is missing"),
        ("cases: [{id: '../x', lines: y}]", "must be letters"),
        ("cases: [{id: a, lines: x}, {id: a, lines: y}]", "given twice"),
        ("cases: [", "not valid YAML"),
    ],
)
def test_a_bad_file_of_cases_is_one_sentence(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "cases.yml"
    path.write_text(content)
    with pytest.raises(LogError, match=told):
        cases(path)


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no such file"):
        list(Lines(tmp_path / "x"))


def test_states_of_units_as_systemctl_prints_them() -> None:
    lines = """● mastodon-sidekiq.service - mastodon-sidekiq
     Loaded: loaded (/etc/systemd/system/mastodon-sidekiq.service; enabled)
     Active: failed (Result: exit-code) since Tue
● mastodon-web.service - mastodon-web
     Active: active (running) since Tue"""
    assert roots(explained(lines)) == ["sidekiq_not_running"]


def test_colours_that_a_pager_has_printed() -> None:
    lines = "\n".join(
        f"^[[1;34mINFO ^[[0m 2026-01-12T00:14:0{number}.750Z pid=7 tid=4 context=Job raised exception job={{}}: "
        f"SSL_connect returned=1 errno=0 peeraddr=192.0.2.{number}:443 state=error: certificate verify failed "
        "(unable to get local issuer certificate) (OpenSSL::SSL::SSLError)"
        for number in range(4)
    )
    assert roots(explained(lines)) == ["ca_certificates_outdated"]


@pytest.mark.parametrize(
    ("text", "deployment"), [("12:00:01 worker.1 | x", None), ("worker_1 | x", "docker"), ("worker-1  |    indented", "docker")]
)
def test_only_compose_means_containers(text: str, deployment: str | None) -> None:
    assert facts_of_case(Case("log", text, "", "", ""), SIGNATURES)["install"].get("deployment") == deployment


def test_what_docker_compose_prints_is_not_systemd() -> None:
    lines = """Starting mastodon_db_1 ... done
/opt/x.rb:1:in `y': `secret_key_base` for production environment must be a type of String` (ArgumentError)"""
    assert roots(explained(lines)) == ["secrets_missing"]


def test_a_job_on_a_page_of_sidekiqs_web_ui() -> None:
    lines = """Queue\tmailers
Job\tActionMailer::MailDeliveryJob
Arguments\t"UserMailer"
Error Class\tEOFError
Error Message\tend of file reached"""
    assert roots(explained(lines)) == ["smtp_failure"]
    of_a_service = "\n".join(f"web-1 | {line}" for line in lines.replace("EOFError", "Errno::ENOSPC").splitlines())
    assert roots(explained(of_a_service)) == []


@pytest.mark.parametrize("margin", ["    ", "> ", ">", "> > ", "\t"])
def test_a_margin_around_all_lines_is_none_of_the_log(margin: str, tmp_path: Path) -> None:
    request = f"[{RID}] method=POST path=/api/v1/statuses status=500"
    log = f"{request}\n\n[{RID}] Errno::ENOSPC (No space left on device @ rb_sysopen):\n  app/x.rb:1"
    quoted = "".join(f"{margin}{line}\n" for line in log.splitlines())
    assert roots(explained(quoted)) == roots(explained(log)) == ["disk_full"]
    path = tmp_path / "quoted.log"
    path.write_text(quoted)
    assert "disk_full.no_space" in facts_of_log(Lines(path), "log", SIGNATURES)["logs"]["signatures"]


def test_lines_whose_date_was_cut_off() -> None:
    assert roots(explained("social systemd[1]: mastodon-web.service: Failed at step CHDIR spawning /x: No such file or directory")) == [
        "unit_misconfigured"
    ]


@pytest.mark.parametrize(
    ("milliseconds", "named"),
    [
        (12000, ["db_slow"]),  # a signature that is not weak proves it by itself
        (4000, ["db_slow"]),  # a weak one because `also` asks for it
        (400, []),
    ],
)
def test_a_known_issue_may_ask_for_weak_signatures_beside_the_strong(milliseconds: int, named: list[str]) -> None:
    assert roots(explained(f"2026-01-02 03:04:05.678 UTC [7] LOG:  duration: {milliseconds}.125 ms  statement: SELECT 1")) == named
