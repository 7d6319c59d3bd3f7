# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways out of the host: a command, mail, a webhook (private, may change any time).

Log text is data on all of them: standard input of a command, the body of a mail, a JSON string. Headers, subjects and arguments are made
of our own words. Each way runs in a process of its own that is killed at its deadline.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import smtplib
import socket
import ssl
import urllib.parse

from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, Callable, Dict, Mapping

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

SECONDS = 15.0
OWN_ISSUES = ("watch_failed", "watch_blind", "diagnosis_failed")  # no known issues of Mastodon
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._:/@+-]+")

Notice = Mapping[str, Any]


def senders(settings: Mapping[str, Any], secrets: Mapping[str, Any], notice: Notice) -> Dict[str, Callable[[Host], Dict[str, Any]]]:
    """What sends the notice, by name of the channel."""
    ways: Dict[str, Callable[[Host], Dict[str, Any]]] = {}
    channels = settings.get("channels", {})
    if channels.get("command"):
        ways["command"] = lambda host: _command(channels["command"], notice)
    if channels.get("mail"):
        ways["mail"] = lambda host: _mail(channels["mail"], str(secrets.get("smtp_password", "")), notice)
    if channels.get("webhook"):
        ways["webhook"] = lambda host: _webhook(host, channels["webhook"], secrets, notice)
    return ways


def title(notice: Notice) -> str:
    """One line of our own words only."""
    word = "ALERT" if notice["event"] == "alert" else "ALL CLEAR"
    return "[%s] %s: %s" % (plain(notice["host"]), word, plain(notice["issue"]))


def body(notice: Notice) -> str:
    """The text for people."""
    lines = [title(notice), ""]
    if notice["event"] == "alert":
        lines += ["Since %s, severity %s." % (formatdate(notice["opened_epoch"]), plain(notice["severity"])), ""]
    else:
        lines += ["It lasted from %s to %s." % (formatdate(notice["opened_epoch"]), formatdate(notice["time_epoch"])), ""]
    lines += ["- " + text for text in notice["text"]]
    if notice["request_ids"]:
        lines += ["", "Requests: " + " ".join(notice["request_ids"])]
    if notice["event"] == "alert":
        if notice["issue"] not in OWN_ISSUES:
            lines += ["", "Find the cause with: ansible-playbook fediops.mastodon.diagnose"]
        lines += ["", "Nothing more is sent until it is over."]
    return "\n".join(lines + ["", "Alert %s" % plain(", ".join([notice["id"], *notice["also"]]))]) + "\n"


def document(notice: Notice) -> Dict[str, Any]:
    """What a webhook is given. `text` is what chat services show."""
    return {
        "schema": 1,
        "event": notice["event"],
        "id": notice["id"],
        "also": notice["also"],
        "host": notice["host"],
        "issue": notice["issue"],
        "severity": notice["severity"],
        "opened_epoch": notice["opened_epoch"],
        "time_epoch": notice["time_epoch"],
        "title": title(notice),
        "text": body(notice),
        "details": notice["text"],
        "request_ids": notice["request_ids"],
    }


def plain(text: Any) -> str:
    """A word that fits into a header whatever it was."""
    return _NOT_PLAIN.sub(" ", str(text))[:200].strip()


def _command(argv: Any, notice: Notice) -> Dict[str, Any]:
    done = act(
        [str(each) for each in argv],
        SECONDS,
        stdin=body(notice).encode(),
        environment={
            "FEDIOPS_EVENT": notice["event"],
            "FEDIOPS_ISSUE": plain(notice["issue"]),
            "FEDIOPS_SEVERITY": plain(notice["severity"]),
        },
    )
    if done.rc != 0:
        raise HostError("the command ended with %s" % ("no answer in %d s" % SECONDS if done.rc is None else "exit code %d" % done.rc))
    return {}


def _message(mail: Mapping[str, Any], notice: Notice) -> bytes:
    message = EmailMessage()
    message["From"] = mail["from"]
    message["To"] = ", ".join(mail["to"])
    message["Subject"] = title(notice)
    message["Date"] = formatdate(notice["time_epoch"])
    # Without a domain of ours make_msgid would ask the resolver, which may hang.
    domain = plain(mail["from"].rpartition("@")[2]) or "localhost"
    message["Message-ID"] = make_msgid(domain=domain)
    thread = "<fediops-%s-%s@%s>" % (plain(notice["host"]).replace(" ", ""), plain(notice["id"]), domain)
    message["References"] = thread  # alert and all-clear in one thread
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body(notice), cte="quoted-printable")
    return message.as_bytes()


def _mail(mail: Mapping[str, Any], password: str, notice: Notice) -> Dict[str, Any]:
    data = _message(mail, notice)
    if not mail.get("smtp_host"):
        done = act([mail["sendmail"], "-i", "-f", mail["from"], "--", *mail["to"]], SECONDS, stdin=data)
        if done.rc != 0:
            raise HostError("%s ended with %s" % (mail["sendmail"], "no answer" if done.rc is None else "exit code %d" % done.rc))
        return {}
    context = ssl.create_default_context(cafile=mail.get("ca_file") or None)
    place = (mail["smtp_host"], int(mail["smtp_port"]))
    try:
        client = (
            smtplib.SMTP_SSL(*place, local_hostname="localhost", timeout=SECONDS, context=context)
            if mail["smtp_tls"] == "tls"
            else smtplib.SMTP(*place, local_hostname="localhost", timeout=SECONDS)
        )
        try:
            if mail["smtp_tls"] == "starttls":
                client.starttls(context=context)
            if mail.get("smtp_user"):
                client.login(mail["smtp_user"], password)
            client.sendmail(mail["from"], list(mail["to"]), data)
            with contextlib.suppress(smtplib.SMTPException, OSError):
                client.quit()  # the mail is taken, whatever is said to that
        finally:
            client.close()
    except smtplib.SMTPResponseException as problem:
        # The reply itself may quote what was sent.
        raise HostError("%s:%d answered %d" % (*place, problem.smtp_code)) from None
    except (smtplib.SMTPException, OSError) as problem:
        raise HostError("%s:%d: %s" % (*place, _why(problem))) from None
    return {}


def _webhook(host: Host, webhook: Mapping[str, Any], secrets: Mapping[str, Any], notice: Notice) -> Dict[str, Any]:
    address = urllib.parse.urlsplit(str(secrets.get("webhook_url", "")))
    name = address.hostname or ""
    if address.scheme == "http" and name not in LOOPBACK or address.scheme not in ("http", "https"):
        raise HostError("the address of the webhook must begin with https:// (http:// only for this host itself)")
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        context = ssl.create_default_context(cafile=webhook.get("ca_file") or None)
        connection = http.client.HTTPSConnection(name, address.port or 443, timeout=host.left(SECONDS), context=context)
    else:
        connection = http.client.HTTPConnection(name, address.port or 80, timeout=host.left(SECONDS))
    headers = {"Content-Type": "application/json", "User-Agent": "fediops.mastodon-monitor"}
    if secrets.get("webhook_token"):
        headers["Authorization"] = "Bearer %s" % secrets["webhook_token"]
    target = (address.path or "/") + ("?" + address.query if address.query else "")
    try:
        connection.request("POST", target, json.dumps(document(notice)).encode(), headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as problem:
        # The path may be the secret, so only the name of the server is told.
        raise HostError("%s: %s" % (name, _why(problem))) from None
    finally:
        connection.close()
    if 300 <= status < 400:
        raise HostError("%s answered %d: redirects are not followed, give the final address" % (name, status))
    if not 200 <= status < 300:
        raise HostError("%s answered %d" % (name, status))
    return {}


def _why(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return "its certificate is not trusted (%s)" % problem.verify_message
    if isinstance(problem, socket.timeout):
        return "no answer in time"
    return (problem.strerror if isinstance(problem, OSError) and problem.strerror else type(problem).__name__)[:200]
