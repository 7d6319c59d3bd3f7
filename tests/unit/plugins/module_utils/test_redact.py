# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing secret and nothing harmful leaves the host with a log line."""

from __future__ import annotations

import json
import string
import time
import unicodedata

from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils._redact import MASK, Redactor, strip_controls

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=48).filter(
    lambda s: len(set(s)) > 3 and not any(part in MASK for part in (s, s[1:], s[:-1]))
)
CONTEXTS = {
    "bare": "{s}",
    "key=value": "DB_PASS={s} next",
    "key: value": "password: {s}",
    "argument": "psql --password {s} --host db",
    "header": "Authorization: Bearer {s}",
    "in the middle": "login failed for {s}, try again",
    "brackets": "[{s}] method=GET",
}


def pieces(secret: str, size: int = 6) -> list[str]:
    return [secret[i : i + size] for i in range(len(secret) - size + 1)]


@given(SECRETS, st.sampled_from(sorted(CONTEXTS)))
def test_known_secret_never_survives(secret: str, context: str) -> None:
    out = Redactor([secret]).clean(CONTEXTS[context].format(s=secret), 1000)
    assert secret not in out


WRITINGS: list[Callable[[str], str]] = [
    lambda secret: json.dumps({"args": [secret]}),
    lambda secret: json.dumps({"log": json.dumps({"x": secret})}),
    lambda secret: "redis://:" + quote(secret, safe="") + "@redis.example:6379/0",
    lambda secret: "postgres://mastodon:" + quote_plus(secret) + "@db/mastodon",
    lambda secret: "GET /?x=" + quote(secret),
    lambda secret: "".join(f"%{b:02x}" for b in secret.encode()),
    lambda secret: '"x"=>' + json.dumps(secret),
    "\x1b[31m".join,
    "\u200b".join,
    "\x00".join,
]


@given(SECRETS)
def test_known_secret_in_other_writings(secret: str) -> None:
    redactor = Redactor([secret])
    for write in WRITINGS:
        out, around = redactor.clean(write(secret), 4000), write("")
        assert secret not in out
        assert quote(secret, safe="") not in out
        assert json.dumps(secret)[1:-1] not in out
        # As often as it is written around every secret ("mastodo" of "mastodo1"), it tells nothing of this one.
        assert not any(out.count(piece) > around.count(piece) for piece in pieces(secret, len(secret) - 1))


@given(SECRETS, st.integers(0, 400), st.integers(20, 320))
def test_cutting_never_shows_part_of_a_secret(secret: str, before: int, limit: int) -> None:
    out = Redactor([secret]).clean("." * before + " " + secret + " tail", limit)
    assert len(out) <= limit
    assert not any(piece in out.replace(MASK, "") for piece in pieces(secret) if set(piece) != {"."})


@given(SECRETS, st.integers(8150, 8250))
@settings(max_examples=30, deadline=None)
def test_the_working_limit_does_not_either(secret: str, before: int) -> None:
    out = Redactor([secret]).clean("- " * (before // 2) + secret, 20000)
    assert not any(piece in out for piece in pieces(secret) if not set(piece) <= {"-", " "})


VALUE = (
    st.text(string.ascii_letters + string.digits + "!#$%*+,-./:;<=>?@^_|~ ", min_size=6, max_size=30)
    .map(str.strip)
    .filter(lambda s: len(s) >= 6 and MASK not in s)
)


@given(
    VALUE, st.sampled_from(["password", "DB_PASS", "secret_key_base", "access_token", "otp_attempt", "client_secret", "api_key", "salt"])
)
def test_unknown_quoted_values_after_a_telling_name(value: str, name: str) -> None:
    redactor = Redactor()
    for text in (
        f'{{"{name}": "{value}", "id": 1}}',
        f'{{"{name}"=>"{value}", "id"=>1}}',
        f"{name}: '{value}'",
        f'{name} = "{value}"',
        f'{{\\"{name}\\":\\"{value}\\"}}',
        f':{name}=>"{value}"',
        f'{name}="{value}',  # never closed
    ):
        assert value not in redactor.clean(text, 1000), text


@pytest.mark.parametrize(
    ("text", "gone", "stays"),
    [
        ("postgres://mastodon:p@ss/w@db.example:5432/x failed", "p@ss", "db.example:5432"),
        ("redis://:hunter22@localhost:6379/0", "hunter22", "localhost:6379/0"),
        ("see https://social.example:8443/@alice now", MASK, "https://social.example:8443/@alice"),
        ("Authorization: Basic YWxpY2U6c2VjcmV0", "YWxpY2U6c2VjcmV0", "Authorization"),
        ("bearer abcdef123456", "abcdef123456", "bearer"),
        ("Cookie: _session_id=abc; remember=def", "abc", "Cookie"),
        ('Signature: keyId="https://a.example/u#main-key",signature="xyz=="', "xyz", "Signature"),
        ("got 9f86d081884c7d659a2feaa0c55ad015 here", "9f86d081884c7d659a2feaa0c55ad015", "here"),
        ("-----BEGIN PRIVATE KEY----- MIIEvQIBADANBg -----END PRIVATE KEY----- after", "MIIEvQIBADANBg", "after"),
        ("-----BEGIN PRIVATE KEY----- MIIEvQIBADANBg", "MIIEvQIBADANBg", "redacted"),
        ("mail to alice@example.com failed", "alice@example.com", "failed"),
        ("LINE 1: INSERT INTO users (email) VALUES ('alice', E'it''s')", "alice", "INSERT INTO users"),
        ("DETAIL:  Key (email)=(alice) already exists.", "alice", "Key (email)"),
        ("DÉTAIL : La clé « (username)=(alice, remote.example) » existe déjà.", "alice", "existe"),
        ("DETAIL:  Failing row contains (1, alice, 2).", "alice", "Failing row"),
        ('GET /api/v1/streaming?access_token=abc HTTP/1.1"', "abc", "/api/v1/streaming?"),
        ("https://a.example/x?code=12 done", "code=12", "https://a.example/x?"),
        ("psql --password hunter2222 -h db", "hunter2222", "-h db"),
    ],
)
def test_patterns(text: str, gone: str, stays: str) -> None:
    out = Redactor().clean(text)
    assert gone not in out.replace(MASK, MASK if gone == MASK else "")
    assert stays in out


@pytest.mark.parametrize(
    "text",
    [
        "[0a61dd31-49d7-4650-81a5-1f8ba24fd193] method=GET path=/api/v1/instance status=500 duration=3.20",
        "mastodon-sidekiq@default-push.service: Main process exited, code=killed, status=9/KILL",
        "postgresql@17-main.service: Failed with result 'exit-code'.",
        "PG::UndefinedColumn: ERROR: column statuses.quote_id does not exist",
        'KeyError: key not found: "SECRET_KEY_BASE"',
        "Could not find table 20250701000000_create_polls_and_more",
        "connect() failed (111: Connection refused) while connecting to upstream, client: 192.0.2.9",
        "class=DistributionWorker jid=0123456789abcdef01234567 elapsed=0.3",
        "Errno::ENOSPC: No space left on device @ dir_s_mkdir - /home/mastodon/live/public/system/media_attachments/files/000/000/009",
        "/home/mastodon/live/vendor/bundle/ruby/3.3.0/gems/activerecord-7.1.3.2/lib/active_record/migration.rb:1603",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert Redactor().clean(text) == text


def test_names_that_look_like_tokens_stay_where_they_are_known() -> None:
    told = "stopping social2024-streaming-1 and abcd1234-efgh5678-ijkl"
    assert Redactor().clean(told) == "stopping [redacted] and [redacted]"
    assert Redactor([], ["social2024-streaming-1"]).clean(told) == "stopping social2024-streaming-1 and [redacted]"
    assert Redactor(["social2024-streaming-1"], ["social2024-streaming-1"]).clean(told) == "stopping [redacted] and [redacted]"


@given(st.one_of(st.binary(max_size=400), st.text(max_size=400)), st.integers(1, 300))
def test_anything_becomes_one_harmless_line(text: str | bytes, limit: int) -> None:
    out = Redactor(["standin-password"]).clean(text, limit)
    assert len(out) <= limit
    assert not any(unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066\u200b\u2028" for c in out)


def test_terminal_sequences_go() -> None:
    assert strip_controls("\x1b]0;title\x07\x1b[1;31mred\x1b[0m \x1b(Bx") == "red x"


def test_short_values_are_no_secrets() -> None:
    assert Redactor(["", "db"]).clean("db in production") == "db in production"


def test_a_short_secret_is_masked_as_a_word() -> None:
    clean = Redactor(["prod"]).clean("production refused prod, url /prod/ and x=prod")
    assert "production" in clean and "prod," not in clean and "/prod/" not in clean and "=prod" not in clean


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100000,
        "=" * 20000,
        "password" * 3000,
        '"' * 9000,
        "\\" * 9000,
        "'" * 9000 + "LINE 1:",
        "://" * 5000,
        "SELECT " * 2000,
        "a@" * 5000,
        "key=\\" * 3000,
        "-----BEGIN " * 2000,
        "a-" * 9000,
        "/?" * 6000,
        "\x1b]" * 9000,
    ],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    begin = time.process_time()
    Redactor(["standin-database-password", "another-secret-value"]).clean(text)
    assert time.process_time() - begin < 1.0
