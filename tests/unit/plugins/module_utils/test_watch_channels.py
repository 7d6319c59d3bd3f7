# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch: what leaves the host. Hostile text stays data on every way."""

from __future__ import annotations

import email
import email.policy
import json
import os
import socketserver
import threading
import time

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._watch import channels, metrics, outbox, store

HOSTILE = "$(touch /tmp/x) `id` ; rm -rf / \r\nBcc: thief@example.org\r\n\r\n.\r\n\x1b[31m"


def notice(**more):
    return {
        "event": "alert", "id": "1-redis_down", "also": [], "issue": "redis_down", "severity": "critical", "host": "social",
        "time_epoch": 5.0, "opened_epoch": 5.0, "text": [HOSTILE], "request_ids": ["abc"], **more,
    }  # fmt: skip


def recorder(path, name="tell"):
    """A program that writes down its arguments, its environment and what it was given."""
    program = path / name
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{path}/arguments\nenv >{path}/environment\ncat >{path}/stdin\n")
    program.chmod(0o755)
    return str(program)


def send(settings, what=None, secrets=None):
    ways = channels.senders({"channels": settings}, secrets or {}, what or notice())
    for way in ways.values():
        way(Host(time.monotonic() + 20))
    return list(ways)


def test_command_gets_the_text_on_standard_input_only(tmp_path):
    assert send({"command": [recorder(tmp_path), "--to", "room"]}) == ["command"]
    assert (tmp_path / "arguments").read_text() == "--to\nroom\n"
    assert HOSTILE.replace("\r\n", "\n") in (tmp_path / "stdin").read_text().replace("\r\n", "\n")
    environment = (tmp_path / "environment").read_text()
    assert "touch" not in environment and "FEDIOPS_ISSUE=redis_down" in environment
    assert not os.path.exists("/tmp/x")


def test_command_that_fails_or_hangs_is_said(tmp_path, monkeypatch):
    with pytest.raises(HostError, match="exit code 1"):
        send({"command": ["/bin/false"]})
    monkeypatch.setattr(channels, "SECONDS", 0.3)
    with pytest.raises(HostError, match="no answer"):
        send({"command": ["/bin/sleep", "20"]})


def test_headers_hold_our_own_words_only(tmp_path):
    mail = {"to": ["a@example.org", "b@example.org"], "from": "m@example.org", "sendmail": recorder(tmp_path, "sendmail"), "smtp_host": ""}
    send({"mail": mail}, notice(host="so\r\nBcc: x@example.org", issue="a\nb"))
    assert (tmp_path / "arguments").read_text().splitlines() == ["-i", "-f", "m@example.org", "--", "a@example.org", "b@example.org"]
    message = email.message_from_bytes((tmp_path / "stdin").read_bytes(), policy=email.policy.default)
    assert "Bcc" not in message and message["To"] == "a@example.org, b@example.org"
    assert message["Subject"] == "[so Bcc: x@example.org] ALERT: a b"
    assert "$(touch /tmp/x)" in message.get_content() and message["Auto-Submitted"] == "auto-generated"


class Mailbox(socketserver.StreamRequestHandler):
    """A mail server's side of the conversation."""

    def handle(self):
        self.wfile.write(b"220 ready\r\n")
        data = False
        for line in self.rfile:
            self.server.heard.append(line)
            if data:
                data = line != b".\r\n"
                if not data:
                    self.wfile.write(b"250 taken\r\n")
            elif line.upper().startswith(b"DATA"):
                data = True
                self.wfile.write(b"354 go on\r\n")
            elif line.upper().startswith(b"AUTH"):
                self.wfile.write(self.server.login + b"\r\n")
            elif line.upper().startswith(b"EHLO"):
                self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
            else:
                self.wfile.write(b"250 yes\r\n")


@pytest.fixture
def mailbox():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.heard, server.login = [], b"235 welcome"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_smtp(mailbox):
    mail = {"to": ["a@example.org"], "from": "m@example.org", "smtp_host": "127.0.0.1", "smtp_port": mailbox.server_address[1],
            "smtp_tls": "none", "smtp_user": "me"}  # fmt: skip
    send({"mail": mail}, secrets={"smtp_password": "very-secret"})
    heard = b"".join(mailbox.heard)
    assert b"RCPT TO:<a@example.org>" in heard.upper().replace(b"A@EXAMPLE.ORG", b"a@example.org")
    assert heard.count(b"\r\n.\r\n") == 1, "the text does not end the mail"
    assert b"\r\nBcc:" not in heard.split(b"\r\n\r\n", maxsplit=1)[0]
    mailbox.login = b"535 very-secret is wrong"
    with pytest.raises(HostError) as problem:
        send({"mail": mail}, secrets={"smtp_password": "very-secret"})
    assert "535" in str(problem.value) and "very-secret" not in str(problem.value)
    with pytest.raises(HostError, match="STARTTLS|SMTPNotSupported"):
        send({"mail": {**mail, "smtp_tls": "starttls"}}, secrets={"smtp_password": "very-secret"})


@pytest.mark.parametrize("url", ["http://chat.example.org/x", "ftp://localhost/x", "", "//x", "file:///etc/passwd"])
def test_webhook_without_tls_is_refused(url):
    with pytest.raises(HostError, match="must begin with https"):
        send({"webhook": {"ca_file": ""}}, secrets={"webhook_url": url})


def test_webhook_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(channels, "SECONDS", 0.5)
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        begin = time.monotonic()
        with pytest.raises(HostError) as problem:
            send({"webhook": {"ca_file": ""}}, secrets={"webhook_url": f"http://127.0.0.1:{server.server_address[1]}/secret"})
        assert time.monotonic() - begin < 5 and "secret" not in str(problem.value)


def test_document_is_json_whatever_the_text():
    found = json.loads(json.dumps(channels.document(notice())))
    assert found["details"] == [HOSTILE] and found["title"] == "[social] ALERT: redis_down"


def test_outbox_sends_once_in_order_and_tries_again(tmp_path):
    program = tmp_path / "tell"
    program.write_text(f"#!/bin/sh\ntest -e {tmp_path}/broken && exit 1\nhead -1 >>{tmp_path}/told\n")
    program.chmod(0o755)
    settings = {"channels": {"command": [str(program)]}}
    state = {}
    (tmp_path / "broken").touch()
    outbox.put(state, [notice(time_epoch=time.time()), notice(event="clear", time_epoch=time.time())], "social", settings)
    assert len(outbox.deliver_all(state, settings, {})) == 1
    assert len(state["outbox"]) == 2
    (tmp_path / "broken").unlink()
    assert outbox.deliver_all(state, settings, {}) == []
    assert outbox.deliver_all(state, settings, {}) == []
    assert (tmp_path / "told").read_text() == "[social] ALERT: redis_down\n[social] ALL CLEAR: redis_down\n"
    assert state["outbox"] == []


def test_what_nobody_takes_is_forgotten_after_a_day():
    settings = {"channels": {"command": ["/bin/false"]}}
    state = {}
    outbox.put(state, [notice(time_epoch=time.time() - 90000)], "social", settings)
    outbox.deliver_all(state, settings, {})
    assert state["outbox"] == []


def test_secrets_that_others_may_read_are_refused(tmp_path):
    path = tmp_path / "secrets.json"
    path.write_text('{"webhook_token": "x"}')
    path.chmod(0o600)
    assert store.secrets(str(path)) == {"webhook_token": "x"}
    path.chmod(0o640)
    with pytest.raises(HostError, match="0600"):
        store.secrets(str(path))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(HostError, match="0600"):
        store.secrets(str(tmp_path / "link"))
    assert store.secrets(str(tmp_path / "none")) == {}


def test_state_survives_damage_and_a_directory_that_takes_nothing(tmp_path):
    first, second = str(tmp_path / "gone"), str(tmp_path)
    store.save({"a": 1}, (first, second))
    assert store.load((first, second))["a"] == 1
    (tmp_path / "state.json").write_text('{"a": ')
    assert store.load((first, second)) == {}
    with pytest.raises(OSError):
        store.save({}, (first,))


def test_labels_of_metrics_are_escaped():
    found = metrics.Metrics()
    found.add("x", "gauge", "What.", 1, mount='a"} 1\nevil 2\\')
    assert found.text().splitlines()[2:] == ['fediops_mastodon_x{mount="a\\"} 1\\nevil 2\\\\"} 1.0']
