# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E501  (log lines are as long as they are)
"""No visitor and no remote server can write a fault into a log, whatever signature he knows; real faults are still heard."""

from __future__ import annotations

import re

from pathlib import Path
from typing import Any

import pytest
import yaml

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils._lines import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._tally import Tally

CATALOGUE = Path(__file__).parents[4] / "roles" / "diagnose" / "files" / "known_issues"
RID = "0a61dd31-49d7-4650-81a5-1f8ba24fd193"
KIQ7 = "2026-01-02T03:04:05.678Z pid=77 tid=abc class=ActivityPub::DeliveryWorker jid=0123456789abcdef01234567 WARN: "
KIQ8 = (
    'INFO  2026-01-02T03:04:05.678Z pid=77 tid=abc context=Job raised exception job={{"retry"=>16, "args"=>["x"], '
    '"class"=>"PushWorker", "jid"=>"0123456789abcdef01234567"}}: '
)
RAILS = "E, [2026-01-02T03:04:05.678901 #1234] ERROR -- : "
NGINX = "2026/01/02 03:04:05 [error] 9#9: *1 "
# Origin and line; {} is what a stranger wrote, {url} the same where no blank and no quote can stand.
PLACES = [
    ("web", RAILS + "[ActionDispatch::HostAuthorization::DefaultResponseApp] Blocked hosts: {}"),
    ("web", "[ActionDispatch::HostAuthorization::DefaultResponseApp] Blocked host: {}"),
    ("web", f"{RAILS}[{RID}] [ActionDispatch::HostAuthorization::DefaultResponseApp] Blocked hosts: m.example, {{}}"),
    ("web", "I, [2026-01-02T03:04:05.678901 #1234]  INFO -- : Rate limit hit (throttle): 192.0.2.1 GET /{}"),
    ("web", f"[{RID}] Rate limit hit (throttle): 192.0.2.1 POST /auth/sign_in?user={{}}"),
    ("web", f"{RAILS}[{RID}] ActionController::InvalidAuthenticityToken (HTTP Origin header ({{}}) didn't match request.base_url (https://m.example)):"),
    ("web", f'{RAILS}[{RID}] ActionController::RoutingError (No route matches [GET] "/{{}}"):'),
    ("web", f'{RAILS}[{RID}] ActionController::BadRequest (Invalid query parameters: {{}}):'),
    ("web", f'{RAILS}[{RID}] ActionDispatch::RemoteIp::IpSpoofAttackError (IP spoofing attack?! HTTP_CLIENT_IP="{{}}"):'),
    ("web", f"{RAILS}[{RID}] HTTP::ConnectionError ({{}}):"),
    ("web", f"{RAILS}[{RID}] OpenSSL::SSL::SSLError (SSL_connect returned=1 errno=0 {{}}):"),
    ("web", f"[{RID}] Caused by: HTTP::Error ({{}})"),
    ("web", f"I, [2026-01-02T03:04:05.678901 #1]  INFO -- : [{RID}] method=GET path=/{{url}} format=html controller=A action=b status=500 duration=1"),
    ("web", f"[{RID}] method=POST path=/inbox format=json controller=A action=b status=500 error='HTTP::Error: {{}}' duration=1.0 view=0.0"),
    ("web", f"[{RID}] method=POST path=/inbox format=json controller=A action=b status=503 error='HTTP::Error: Errno::EROFS: {{}}' duration=1.0"),
    ("web", f"[{RID}] method=GET path=/ format=html controller=A action=b status=500 duration=1 unpermitted_params=[\"{{}}\", \"x\"] key=https://e/{{url}}"),
    ("web", '2026-01-02 03:04:05 +0000 HTTP parse error, malformed request ("GET /{}" - (-)): #<Puma::HttpParserError: x>'),
    ("sidekiq", KIQ7 + "Mastodon::UnexpectedResponseError: https://evil.example/{url} returned code 500"),
    ("sidekiq", KIQ7 + "Mastodon::UnexpectedResponseError: https://evil.example/{} returned code 500"),
    ("web", f"D, [2026-01-02T03:04:05.678901 #1] DEBUG -- : [{RID}] Error fetching remote file: https://evil.example/{{}} returned code 500"),
    ("web", f"D, [2026-01-02T03:04:05.678901 #1] DEBUG -- : [{RID}] Unpermitted parameter: :{{}}"),
    ("sidekiq", KIQ7 + "Webpush::ResponseError: host: evil.example, #<Net::HTTPNotFound 404 {} readbody=true>"),
    ("sidekiq", KIQ7 + 'Chewy::ImportFailed: Import failed for `StatusesIndex::Status` with: {{"type"=>"mapper_parsing_exception", "reason"=>"failed to '
     """parse field [text] of type [text] in document with id '1'. Preview of field's value: '{quoted}'"}}"""),
    ("sidekiq", KIQ7 + "HTTP::ConnectionError: {}"),
    ("sidekiq", KIQ7 + "OpenSSL::SSL::SSLError: SSL_connect returned=1 errno=0 state=error: {}"),
    ("sidekiq", KIQ7 + 'ArgumentError: "{quoted}" is not a date'),
    ("sidekiq", KIQ7 + 'Errno::ECONNREFUSED: Connection refused - connect(2) for "{quoted}" port 443'),
    ("sidekiq", KIQ8 + "https://evil.example/{} returned code 500 (Mastodon::UnexpectedResponseError)"),
    ("sidekiq", KIQ8 + "{} (HTTP::Error)"),
    ("sidekiq", KIQ8 + "Errno::EROFS: {} (OpenSSL::SSL::SSLError)"),
    ("sidekiq", KIQ7 + '{{"context":"Job raised exception","job":{{"class":"X","args":["{quoted}"],"jid":"0123456789abcdef01234567",'
     '"error_class":"HTTP::Error","error_message":"{quoted}"}}}}'),
    ("sidekiq", f"[ActiveJob] [X::Y] [{RID}] Error performing X::Y (Job ID: {RID}) from Sidekiq(push) in 1.5ms: HTTP::Error ({{}}):"),
    ("sidekiq", f'[ActiveJob] [X::Y] [{RID}] Performing X::Y (Job ID: {RID}) from Sidekiq(push) with arguments: "{{quoted}}"'),
    ("streaming", '{{"level":"info","time":1767323045678,"req":{{"id":"{quoted}","url":"/{quoted}"}},"msg":"request completed"}}'),
    ("streaming", '{{"level":"error","time":1767323045678,"err":{{"type":"SyntaxError","message":"{quoted}"}},"msg":"Error parsing message"}}'),
    ("proxy", NGINX + 'open() "/x/public/{}" failed (2: No such file or directory), client: 192.0.2.1, server: m.example, request: "GET / '
     'HTTP/1.1", host: "m.example"'),
    ("proxy", NGINX + 'client intended to send too large body: 9 bytes, client: 192.0.2.1, server: m.example, request: "GET /{} HTTP/1.1", '
     'host: "m.example", referrer: "{}"'),
    ("proxy", '192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "GET /{url} HTTP/1.1" 404 1 "-" "{}"'),
    ("proxy", '{{"request":"GET /{quoted}","agent":"{quoted}"}}'),
    ("proxy", '{{"level":"error","msg":"x","request":{{"uri":"/{quoted}","headers":{{"User-Agent":["{quoted}"]}}}}}}'),
    ("proxy", "[Fri Jan 02 03:04:05.678901 2026] [core:error] [pid 1:tid 2] [client 192.0.2.1:1] AH00126: Invalid URI in request GET /{} HTTP/1.1"),
    ("proxy", "[Fri Jan 02 03:04:05.678901 2026] [core:error] [pid 1] [client 192.0.2.1:1] AH00128: File does not exist: /x, referer: {}"),
    ("proxy", "192.0.2.1:5000 [02/Jan/2026:03:04:05.678] https~ m/web1 0/0/0/9/9 200 9 - - ---- 9/9/1/1/0 0/0 {{m.example|{url}}} \"GET /{url} HTTP/1.1\""),
    ("proxy", 'time="2026-01-02T03:04:05Z" level=debug msg="begin ServeHttp on request" Request="{quoted}"'),
    ("proxy", '2026/01/02 03:04:05.678\tERROR\thttp.log.error\tEOF\t{{"request": {{"uri": "/{quoted}"}}}}'),
    ("database", '2026-01-02 03:04:05.678 UTC [12] m@m ERROR:  invalid input syntax for type bigint: "{}"'),
    ("database", '2026-01-02 03:04:05.678 JST [12] ERROR:  "bigint"型の入力構文が不正です: "{}"'),
    ("database", "2026-01-02 03:04:05.678 CET [12] ERROR:  la sintaxis de entrada no es válida para tipo bigint: «{}»"),
    ("database", "2026-01-02 03:04:05.678 JST [12] 文:  SELECT '{}'"),
    ("database", "2026-01-02 03:04:05.678 CET [12] DETALLE:  Ya existe la llave (uri)=({})."),
    ("database", "2026-01-02 03:04:05.678 UTC [12] m@m STATEMENT:  SELECT '{}'"),
]  # fmt: skip


def catalogue() -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(CATALOGUE.glob("*.yml")):
        issue = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, signature in (issue.get("signatures") or {}).items():
            found[f"{issue['id']}.{name}"] = signature
    return found


SIGNATURES = catalogue()
TALLY = Tally(SIGNATURES)
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
PLANTED = ["ENOSPC", "NoMemoryError", "EROFS", "Errno::EROFS", "query_wait_timeout", "ActiveRecord::ConnectionTimeoutError",
           "Errno::ENOSPC: No space left on device", ": No space left on device", "Read-only file system", "(PG::DiskFull: ERROR:  x)",
           "}: Errno::EROFS: x (Errno::EROFS)", '", upstream: "http://127.0.0.1:3000/', '" failed (28: No space left on device)',
           "' duration=1 error='Errno::EROFS: x", "x) Caused by: Errno::EROFS (", "connect() failed (111: Connection refused)",
           "Could not run the `identify` command. Please install ImageMagick.", "peeraddr=192.0.2.8:587 state=error",
           "host: fcm.googleapis.com, x\nVapidPkHashMismatch", "IP spoofing attack?! client 192.0.2.9 is not a trusted proxy",
           '{"type"=>"cluster_block_exception", "reason"=>"blocked by: [FORBIDDEN/12/index read-only / allow delete (api)]']  # fmt: skip


def lines(text: str) -> list[tuple[str, str]]:
    url = re.sub(r"[\s\"']", "-", text)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    written = {"{{": "{", "}}": "}", "{url}": url, "{quoted}": quoted, "{}": text}
    return [(origin, re.sub(r"\{\{|\}\}|\{(?:url|quoted)?\}", lambda part: written[part.group()], place)) for origin, place in PLACES]


def counted(text: str) -> list[set[str]]:
    """Signatures that each place shows with this text in it."""
    found = []
    for number, (origin, line) in enumerate(lines(text)):
        TALLY.add(origin, "x", 1000.0 * number, line.encode("utf-8", "ignore"))
        found.append({signature.key for signature in TALLY.matcher._all if signature.count})
        for signature in TALLY.matcher._all:
            signature.count = 0
        TALLY.matcher._ids.clear()
    return found


HARMLESS = counted("x")  # some places are known by what stands around the stranger's words


def planted(text: str) -> None:
    for (origin, line), found, before in zip(lines(text), counted(text), HARMLESS, strict=True):
        assert found <= before, (origin, line, found - before)


@pytest.mark.parametrize("text", PLANTED)
def test_known_plants(text: str) -> None:
    planted(text)


@pytest.mark.parametrize("key", sorted(SIGNATURES))
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_a_stranger_writes_is_counted(key: str, data: st.DataObject) -> None:
    planted(CONTROLS.sub(" ", data.draw(st.from_regex(SIGNATURES[key]["match"]))))


KIQ8 = KIQ8.replace("{{", "{").replace("}}", "}")


def seen(origin: str, *texts: str) -> set[str]:
    tally = Tally(SIGNATURES)
    for text in texts:
        tally.add(origin, "x", 1.0, text.encode())
    return {key for key in tally.matcher.result(tally.redactor) if not key.startswith("not_a_server_fault.")}  # that is what it is


def test_a_message_of_a_stranger_in_several_lines() -> None:
    assert not seen("sidekiq", KIQ7 + "JSON::ParserError: unexpected token at 'x", "Errno::EROFS: Read-only file system", "No space left on device")
    assert not seen("web", f"{RAILS}[{RID}] JSON::ParserError (unexpected token at '{{", "NoMemoryError: failed to allocate memory'):")


def test_what_a_stranger_says_is_no_cause() -> None:
    assert parse("sidekiq", KIQ7 + "HTTP::Error: Errno::EROFS: x").fields["class"] == "HTTP::Error"
    line = parse("web", f"{RAILS}[{RID}] ActiveRecord::RecordNotUnique (PG::UniqueViolation: ERROR:  duplicate key")
    assert line.fields["class"] == "PG::UniqueViolation"


def test_real_faults_are_heard() -> None:
    assert seen("web", f"{RAILS}[{RID}] Errno::ENOSPC (No space left on device @ rb_sysopen - /x/ENOSPC):") == {"disk_full.no_space"}
    assert seen("web", f"[{RID}] Caused by: PG::DiskFull (ERROR:  could not extend file \"base/1\": No space left on device") == {"disk_full.no_space"}
    assert seen("web", f"[{RID}] ActiveRecord::StatementInvalid (PG::DiskFull: ERROR:  could not extend file") == {"disk_full.no_space"}
    assert seen("web", "[FATAL] failed to allocate memory") == {"oom_kill.allocation"}
    assert seen("sidekiq", KIQ8 + "failed to allocate memory (NoMemoryError)") == {"oom_kill.allocation"}
    assert seen("sidekiq", KIQ7 + "Errno::EROFS: Read-only file system @ rb_sysopen - /x") == {"sandbox_read_only.read_only"}
    assert seen("web", "! Unable to load application: Errno::EROFS: Read-only file system @ dir_s_mkdir - /x") == {
        "sandbox_read_only.read_only", "web_down_502.unloadable"}  # fmt: skip
    assert seen("sidekiq", KIQ7 + "PG::ConnectionBad: connection to server at \"::1\", port 6432 failed: FATAL:  query_wait_timeout") == {
        "db_too_many_connections.pooler"}  # fmt: skip
    assert seen("sidekiq", KIQ7 + "RedisClient::CannotConnectError: Connection refused - connect(2) for 127.0.0.1:6379 (redis://localhost:6379)"
                ) >= {"redis_down.cannot_connect"}  # fmt: skip
    assert seen("streaming", '{"level":"error","time":1,"err":{"type":"Error","code":"ENOSPC","message":"ENOSPC: no space left on device, write"}}'
                ) == {"disk_full.no_space"}  # fmt: skip
    assert seen("web", "[1] ! Unable to load application: KeyError: key not found: \"OTP_SECRET\"") >= {"secrets_missing.key"}
    limited = f"I, [2026-01-02T03:04:05.678901 #1234]  INFO -- : [{RID}] Rate limit hit (throttle): 127.0.0.1 GET /api/v1/timelines/public"
    assert seen("web", limited) == {"rate_limited_shared_ip.private", "rate_limited_shared_ip.hit"}
    stop = "2026-01-02T03:04:05.678Z pid=12 tid=abc INFO: "
    assert seen("sidekiq", stop + "Shutting down") == {"stop_timeout_too_short.stopping"}
    assert seen("sidekiq", stop + "Bye!") == {"stop_timeout_too_short.ended"}


@pytest.mark.parametrize(("origin", "text"), [
    ("system", "mastodon-web.service: Failed to add control inotify watch descriptor for control group /x: No space left on device"),
    ("system", "x.service: Failed to add inotify watch descriptor for control group /x: No space left on device"),
    ("streaming", "Error: ENOSPC: System limit for number of file watchers reached, watch '/x'"),
    ("database", "2026-01-02 03:04:05.678 UTC [12] FATAL:  could not create semaphores: No space left on device"),
    ("database", '2026-01-02 03:04:05.678 UTC [12] ERROR:  could not resize shared memory segment "/P.1" to 8 bytes: No space left on device'),
])  # fmt: skip
def test_no_space_for_other_things_than_files(origin: str, text: str) -> None:
    assert not any(key.startswith("disk_full.") for key in seen(origin, text))


@pytest.mark.parametrize(("origin", "text"), [
    ("system", "x.service: Failed to create directory /run/x: No space left on device"),
    ("proxy", NGINX + 'pwrite() "/var/lib/nginx/body/1" failed (28: No space left on device), client: 1.1.1.1, server: m, request: "GET / H"'),
    ("proxy", "nginx: [emerg] open() \"/run/x\" failed (28: No space left on device)"),
    ("redis", "1:M 02 Jan 2026 03:04:05.678 # Write error saving DB on disk(fwrite): No space left on device"),
    ("database", '2026-01-02 03:04:05 UTC [1] PANIC:  could not write to file "pg_wal/xlogtemp.1": No space left on device'),
    ("database", "2026-01-02 03:04:05 UTC [1] ERREUR:  n'a pas pu étendre le fichier « base/1 » : Aucun espace disponible sur le périphérique"),
    ("database", "2026-01-02 03:04:05 UTC [1] FEHLER:  konnte Datei »base/1« nicht erweitern: Auf dem Gerät ist kein Speicherplatz mehr verfügbar"),
])  # fmt: skip
def test_no_space_for_files(origin: str, text: str) -> None:
    assert "disk_full.no_space" in seen(origin, text)
