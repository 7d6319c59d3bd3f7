# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor on real servers: one alert, one all-clear, nothing left behind."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import json
import tarfile
import time

from pathlib import Path
from typing import Any

import pytest

from live import FAULTS, ONE_SUITE, ROOT, Box, ansible, inventory

WATCH = "fediops-mastodon-watch"
STATE = "/var/lib/fediops.mastodon/monitor"
TELL = """#!/bin/sh
{ printf '== %s %s %s\\n' "$FEDIOPS_EVENT" "$FEDIOPS_ISSUE" "$#"; cat; } >>/srv/told
"""
# A chat with TLS, as a small server of Python's own: it answers what it is told to and writes down what it is given.
CHAT = """import http.server, ssl
class Chat(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        moved = self.path == "/moved"
        with open("/srv/moved" if moved else "/srv/posted", "ab") as log:
            log.write((self.headers.get("Authorization") or "").encode() + b" " + body + b"\\n")
        self.send_response(307 if moved else 204)
        if moved:
            self.send_header("Location", "https://localhost:8443/elsewhere")
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 8443), Chat)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/chat.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    " -keyout /srv/key.pem -out /srv/ca.pem 2>/dev/null && cat /srv/key.pem /srv/ca.pem >/srv/chat.pem"
)
# What Ansible itself needs, pure Python: the Python of a box is not that of this machine.
PACKAGES = {
    "ansible": "ansible-core",
    "jinja2": "jinja2",
    "markupsafe": "markupsafe",
    "packaging": "packaging",
    "resolvelib": "resolvelib",
    "yaml": "pyyaml",
}
# Everything that the monitor could leave behind, with owner, mode and content.
TREE = """
find /etc /usr/local /var/lib/fediops.mastodon* /var/lib/systemd/timers /root /opt -type f -exec sha256sum {} + 2>/dev/null | sort
find /etc /usr/local /var/lib/fediops.mastodon* /run/fediops* -printf '%p %l %m %u %g\\n' 2>/dev/null | sort
systemctl list-unit-files --no-pager | grep -i fediops
"""


def monitor(box: Box, folder: Path, *arguments: str, **variables: Any) -> str:
    """Run the playbook; what it printed."""
    variables = {"mastodon_monitor_command": ["/srv/tell"], "mastodon_monitor_confirm_seconds": 2, **variables}
    done = ansible(ROOT / "playbooks" / "monitor.yml", "-i", inventory(folder, box), "-e", json.dumps(variables), *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def ready(box: Box) -> None:
    box.ready()
    box.put("/srv/tell", TELL, 0o755)
    # The testbed limits the journal itself; a server does not.
    box.run("rm -f /etc/systemd/journald.conf.d/standin.conf && systemctl restart systemd-journald")


def passes(box: Box, count: int = 1) -> None:
    for _time in range(count):
        box.run(["systemctl", "start", WATCH])


def told(box: Box) -> list[str]:
    """The first lines of what the command was given."""
    text = box.run("cat /srv/told 2>/dev/null", check=False).out
    return [line for line in text.splitlines() if line.startswith("== ")]


@pytest.mark.parametrize("suite", ONE_SUITE)
def test_one_alert_and_one_all_clear(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        ready(box)
        monitor(box, tmp_path)
        passes(box, 2)
        assert told(box) == []
        planted = ansible(FAULTS / "plant.yml", "-i", inventory(tmp_path, box), "-e", "fault=postgresql_stopped")
        assert planted.returncode == 0, planted.stdout
        for _time in range(3):
            passes(box)
            box.post("does not work")
        assert told(box) == ["== alert db_connection_refused 0"], box.journal(WATCH)
        alert = box.get("/srv/told")
        assert "posts failed since the last pass" in alert and "(50" in alert
        request = alert.split("Requests: ")[1].split()[0]
        assert request in box.journal("mastodon-web"), "a request id leads to the log"
        box.run("systemctl start postgresql")
        box.ready()
        passes(box)
        assert len(told(box)) == 1, "one clear pass is not believed"
        passes(box, 3)
        assert told(box) == ["== alert db_connection_refused 0", "== clear db_connection_refused 0"], box.journal(WATCH)


@pytest.mark.thorough
def test_the_timer_does_it_and_notices_a_watch_that_fails(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        ready(box)
        monitor(box, tmp_path, mastodon_monitor_interval_minutes=1)
        box.run("systemctl stop mastodon-sidekiq")
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and not told(box):
            time.sleep(2)
        assert told(box) == ["== alert sidekiq_not_running 0"], box.journal(WATCH)
        runs = box.journal(WATCH).count("conditions looked at")
        while time.monotonic() < deadline + 120 and box.journal(WATCH).count("conditions looked at") < runs + 2:
            time.sleep(2)
        assert told(box) == ["== alert sidekiq_not_running 0"], "said once, however often it is seen"
        # A failed pass does not hide the end of what goes on, and is told itself when it lasts.
        box.run("systemctl stop fediops-mastodon-watch.timer; systemctl start mastodon-sidekiq")
        box.run("mv /usr/local/lib/fediops-mastodon/catalogue.json /srv/")
        for _time in range(3):
            assert box.run(["systemctl", "start", WATCH], check=False).rc != 0
        assert told(box)[1:] == ["== alert watch_failed 0"]
        box.run("mv /srv/catalogue.json /usr/local/lib/fediops-mastodon/")
        box.ready()
        passes(box, 3)
        assert sorted(told(box)[2:]) == ["== clear sidekiq_not_running 0", "== clear watch_failed 0"]


@pytest.mark.thorough
def test_webhook_trusts_no_stranger_and_follows_no_redirect(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        ready(box)
        box.put("/srv/chat.py", CHAT)
        box.run(CERTIFICATE)
        box.run("systemd-run --unit chat python3 /srv/chat.py && until ss -Hltn sport = :8443 | grep -q .; do sleep 0.1; done")
        hook = {"url": "https://localhost:8443/hook/secret-path", "token": "secret-token"}
        output = monitor(box, tmp_path, "--diff", "-vvv", mastodon_monitor_command=[], mastodon_monitor_webhook=hook)
        assert "secret-path" not in output and "secret-token" not in output
        assert box.run("stat -c %a:%u /etc/fediops.mastodon/monitor.secrets.json").out.strip() == "600:0"
        assert "secret-" not in box.get("/etc/fediops.mastodon/monitor.json")
        box.run("systemctl stop nginx")
        assert box.run(["systemctl", "start", WATCH], check=False).rc != 0, "an alert that nobody took is a failed unit"
        assert "its certificate is not trusted" in box.journal(WATCH)
        assert box.run("cat /srv/posted 2>/dev/null", check=False).out == ""
        monitor(box, tmp_path, mastodon_monitor_command=[], mastodon_monitor_webhook={**hook, "ca_file": "/srv/ca.pem"})
        passes(box, 2)
        header, _brace, body = box.get("/srv/posted").partition(" {")
        assert header == "Bearer secret-token" and box.get("/srv/posted").count("\n") == 1, box.get("/srv/posted")
        alert = json.loads("{" + body)
        assert (alert["event"], alert["issue"], alert["severity"], alert["host"]) == ("alert", "proxy_down", "critical", box.name)
        moved = {"url": "https://localhost:8443/moved", "token": "secret-token", "ca_file": "/srv/ca.pem"}
        monitor(box, tmp_path, mastodon_monitor_command=[], mastodon_monitor_webhook=moved)
        box.run("systemctl start nginx")
        box.run(f"systemctl start {WATCH}; systemctl start {WATCH}; systemctl start {WATCH}", check=False)
        assert "redirects are not followed" in box.journal(WATCH)
        assert box.get("/srv/posted").count("\n") == 1
        assert "secret-" not in box.journal(WATCH)


@pytest.mark.thorough
def test_what_was_there_is_there_again(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        ready(box)
        box.put("/home/mastodon/live/log/production.log", "a patch writes this\n", owner="mastodon:mastodon")
        box.run("mkdir -p /srv/textfile")
        variables: dict[str, Any] = {"mastodon_monitor_textfile_dir": "/srv/textfile"}
        before = box.run(TREE, check=False).out
        output = monitor(box, tmp_path, "--check", "--diff", **variables)
        assert "changed=1" in output and "SystemMaxUse" in output
        assert box.run(TREE, check=False).out == before
        assert "changed=1" in monitor(box, tmp_path, **variables)
        drop_in = box.get("/etc/systemd/journald.conf.d/60-fediops-mastodon.conf")
        size = int(box.run("stat -fc '%b %S' /var/log | awk '{print $1 * $2}'").out)
        limit = int(drop_in.split("SystemMaxUse=")[1].split("M")[0]) << 20
        assert limit <= size / 10 and limit == min(4096 << 20, max(128 << 20, size // 20 >> 20 << 20), size // 10 >> 20 << 20)
        assert box.run("logrotate -d /etc/logrotate.d/fediops-mastodon", check=False).rc == 0
        box.run("logrotate -f /etc/logrotate.d/fediops-mastodon")
        assert "a patch" in box.get("/home/mastodon/live/log/production.log.1")
        passes(box)
        assert "fediops_mastodon_watch_last_success_timestamp_seconds " in box.get("/srv/textfile/fediops_mastodon.prom")
        assert "changed=0" in monitor(box, tmp_path, **variables)
        assert "changed=0" in monitor(box, tmp_path, "--check", "--diff", **variables)
        kept = box.run(TREE, check=False).out
        assert "changed=1" in monitor(box, tmp_path, "--check", mastodon_monitor_state="absent")
        assert box.run(TREE, check=False).out == kept
        assert "changed=1" in monitor(box, tmp_path, mastodon_monitor_state="absent")
        assert box.run(TREE, check=False).out == before
        assert box.run("ls /srv/textfile").out == ""
        assert "changed=0" in monitor(box, tmp_path, mastodon_monitor_state="absent")


@pytest.mark.thorough
def test_full_disk_is_told_although_nothing_can_be_kept(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        ready(box)
        monitor(box, tmp_path)
        box.run(
            f"cp {STATE}/installed.json /srv/ && mount -t tmpfs -o size=64k none {STATE} && head -c 1M /dev/zero >{STATE}/fill; true",
            check=False,
        )
        box.run("systemctl stop mastodon-streaming@4000")
        passes(box, 3)
        assert told(box) == ["== alert streaming_down 0"], box.journal(WATCH)
        assert box.run(f"ls {STATE}/state.json", check=False).rc != 0


@pytest.mark.thorough
def test_unit_is_bounded(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        ready(box)
        monitor(box, tmp_path)
        shown = box.run(f"systemctl show {WATCH} -p ProtectSystem,MemoryMax,TimeoutStartUSec,Nice,NoNewPrivileges,TasksMax").out
        assert "ProtectSystem=strict" in shown and "MemoryMax=268435456" in shown and "NoNewPrivileges=yes" in shown and "Nice=10" in shown
        assert "TimeoutStartUSec=infinity" not in shown
        # What hangs is ended, and its end is noticed.
        box.run("mkdir -p /run/systemd/system/fediops-mastodon-watch.service.d")
        box.put(f"/run/systemd/system/{WATCH}.service.d/x.conf", "[Service]\nExecStart=\nExecStart=/bin/sleep 60\nTimeoutStartSec=2\n")
        box.run("systemctl daemon-reload")
        begin = time.monotonic()
        for _time in range(2):
            assert box.run(["systemctl", "start", WATCH], check=False).rc != 0
        assert time.monotonic() - begin < 20
        assert told(box) == ["== alert watch_failed 0"]


def controller(box: Box, folder: Path) -> None:
    """Ansible itself, and this collection, on the box: the very files that run this test."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for module, name in PACKAGES.items():
            files = importlib.metadata.distribution(name)
            for path in (Path(str(importlib.import_module(module).__file__)).parent, Path(str(files.locate_file(files._path)))):  # type: ignore[attr-defined]
                tar.add(path, path.name, filter=lambda each: None if each.name.endswith((".so", ".pyc")) else each)
        for name in ("plugins", "roles", "playbooks", "meta", "galaxy.yml"):
            tar.add(ROOT / name, f"ansible_collections/fediops/mastodon/{name}")
    box.put("/opt/ansible.tar", out.getvalue())
    box.run("mkdir -p /opt/ansible && tar -xf /opt/ansible.tar -C /opt/ansible && rm /opt/ansible.tar")
    program = '#!/bin/sh\nPYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/ansible exec python3 -m ansible.cli.playbook "$@"\n'
    box.put("/opt/ansible-playbook", program, 0o755)
    box.put("/opt/hosts.json", json.dumps({"all": {"hosts": {"social": {"ansible_connection": "local"}}}}))


@pytest.mark.thorough
def test_the_full_diagnosis_by_the_clock(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        ready(box)
        controller(box, tmp_path)
        names = ("controller", "inventory", "command", "ansible_playbook", "keep", "textfile_dir", "environment")
        values = ("all", "/opt/hosts.json", ["/srv/tell"], "/opt/ansible-playbook", 2, "/srv", {"ANSIBLE_COLLECTIONS_PATH": "/opt/ansible"})
        variables = {"mastodon_monitor_" + name: value for name, value in zip(names, values)}
        before = box.run(TREE, check=False).out

        def schedule(*arguments: str) -> str:
            done = ansible(
                ROOT / "playbooks" / "monitor_controller.yml", "-i", inventory(tmp_path, box), "-e", json.dumps(variables), *arguments
            )
            assert done.returncode == 0, done.stdout
            return done.stdout

        assert "changed=1" in schedule()
        assert "changed=0" in schedule()
        unit = "fediops-mastodon-diagnose"
        assert box.run(["systemctl", "is-active", unit + ".timer"]).out.strip() == "active"
        for number, (act, expected) in enumerate(
            [
                ("true", []),
                ("systemctl stop redis-server", ["== alert redis_down 0"]),
                ("true", ["== alert redis_down 0"]),
                ("systemctl start redis-server; sleep 5", ["== alert redis_down 0", "== clear redis_down 0"]),
            ]
        ):
            box.run(act)
            if number == 3:
                box.ready()
            box.run(["systemctl", "start", unit], timeout=120)
            assert told(box) == expected, (number, box.journal(unit))
        reports = "/var/lib/fediops.mastodon-diagnose/reports"
        assert len(box.run(f"ls -d {reports}/2*").out.split()) == 2, "old reports are forgotten"
        assert json.loads(box.get(reports + "/latest/diagnosis.json"))["hosts"]["social"]["verdict"] in ("clear", "faults")
        assert 'diagnosis_unknown{host="social"}' in box.get("/srv/fediops_mastodon_diagnosis.prom")
        # A diagnosis that cannot be made is told, too.
        box.run("mv /opt/hosts.json /srv/")
        assert box.run(["systemctl", "start", unit], check=False, timeout=120).rc != 0
        assert told(box)[2:] == ["== alert diagnosis_failed 0"], box.journal(unit)
        box.run("mv /srv/hosts.json /opt/")
        assert "changed=1" in schedule("-e", "mastodon_monitor_state=absent")
        assert box.run(TREE, check=False).out == before
