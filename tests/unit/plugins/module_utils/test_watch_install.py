# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch: what is installed, and that it can be taken back."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._watch import bundle, install, parts, retention, schedule, units
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.install import File, Installer

GB = 1 << 30


class Files:
    """A host of which only some files are looked at."""

    def __init__(self, **files):
        self.files = {path.replace("__", "/"): text for path, text in files.items()}

    def maybe(self, path):
        return self.files.get(path)

    def glob(self, pattern):
        directory = pattern.rsplit("/", 1)[0]
        return sorted(path for path in self.files if path.rsplit("/", 1)[0] == directory and path.endswith(pattern.rsplit("*", 1)[1]))

    def space(self, path):
        return type("Space", (), {"f_blocks": 40 * GB // 4096, "f_frsize": 4096})()


@pytest.mark.parametrize(
    ("size", "percent", "megabytes"), [(40 * GB, 5, 2048), (1000 * GB, 5, 4096), (1 * GB, 5, 102), (4 * GB, 1, 128), (20 << 20, 5, 8)]
)
def test_share_of_a_filesystem(size, percent, megabytes):
    assert retention.share(size, percent) == megabytes


def test_journal_limit_of_an_administrator_stays():
    assert retention.journald(Files(), 5) == (retention._HEAD + "[Journal]\nSystemMaxUse=2048M\n", "")
    host = Files()
    host.files["/etc/systemd/journald.conf"] = "[Journal]\n#SystemMaxUse=\n"
    host.files[retention.JOURNALD] = "[Journal]\nSystemMaxUse=1M\n"
    assert retention.journald(host, 5)[0] is not None
    host.files["/etc/systemd/journald.conf.d/a.conf"] = "[Journal]\n SystemMaxUse = 500M\n"
    text, why = retention.journald(host, 5)
    assert text is None and "a.conf" in why


@pytest.mark.parametrize("text", [None, "", "{}", '{\n    "data-root": "/srv/docker",\n    "log-opts": {"labels": "x"}\n}\n'])
def test_docker_is_merged(text):
    merged, keys, why = retention.docker(text, 40 * GB, 5)
    settings = json.loads(merged)
    assert (
        settings["log-opts"]["max-size"] == "85m"
        and settings["log-opts"]["max-file"] == "3"
        and keys == ["max-file", "max-size"]
        and not why
    )
    before = json.loads(text) if text else {}
    assert {key: value for key, value in settings.items() if key != "log-opts"} == {k: v for k, v in before.items() if k != "log-opts"}
    assert json.loads(retention.docker_without(merged, keys)) == before


@pytest.mark.parametrize("text", ['{"log-driver": "journald"}', '{"log-opts": {"max-size": "1g"}}'])
def test_docker_of_an_administrator_stays(text):
    assert retention.docker(text, 40 * GB, 5)[0] is None


@pytest.mark.parametrize("text", ["{", "[]", '{"log-opts": []}'])
def test_docker_that_is_broken_is_refused(text):
    with pytest.raises(Refused):
        retention.docker(text, 40 * GB, 5)


def files_of(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    path = tmp_path / "docker" / "daemon.json"
    monkeypatch.setattr(retention, "DOCKER", str(path))
    path.parent.mkdir()
    path.write_text('{"data-root":   "/srv"}')
    return path


def file(text, mode=0o644):
    return File(text.encode(), mode, os.getuid(), os.getgid())


def installed(tmp_path, daemon, check_mode=False):
    installer = Installer(str(tmp_path / "state"), "x", check_mode)
    text, keys, _why = retention.docker(installer.text_without_us(str(daemon)), 40 * GB, 5)
    wanted = {str(daemon): file(text), str(tmp_path / "new" / "deep" / "unit.service"): file("[Unit]\n")}
    return installer, installer.install(wanted, {str(daemon): keys})


def owned(monkeypatch):
    """Whoever runs the tests owns what is made."""
    make = install.disk.make_directory
    write = install.disk.write
    uid, gid = os.getuid(), os.getgid()
    monkeypatch.setattr(install.disk, "make_directory", lambda path, _uid, _gid, mode: make(path, uid, gid, mode))
    monkeypatch.setattr(install.disk, "write", lambda path, data, wanted: write(path, data, wanted._replace(uid=uid, gid=gid)))


def test_installed_twice_is_once_and_taken_back_byte_for_byte(tmp_path, daemon, monkeypatch):
    owned(monkeypatch)
    before = files_of(tmp_path)
    assert len(installed(tmp_path, daemon, check_mode=True)[1]) == 2
    assert files_of(tmp_path) == before
    assert len(installed(tmp_path, daemon)[1]) == 2
    assert json.loads(daemon.read_text())["log-opts"]["max-size"] == "85m"
    again, changed = installed(tmp_path, daemon)
    assert changed == [] and again.diff == []
    Installer(str(tmp_path / "state"), "x", True).remove()
    assert json.loads(daemon.read_text())["log-opts"]
    assert len(Installer(str(tmp_path / "state"), "x", False).remove()) == 3
    assert files_of(tmp_path) == before


def test_what_somebody_changed_since_is_kept(tmp_path, daemon, monkeypatch):
    owned(monkeypatch)
    installed(tmp_path, daemon)
    daemon.write_text(json.dumps({**json.loads(daemon.read_text()), "debug": True}))
    assert str(daemon) not in installed(tmp_path, daemon)[1] or json.loads(daemon.read_text())["debug"]
    Installer(str(tmp_path / "state"), "x", False).remove()
    assert json.loads(daemon.read_text()) == {"data-root": "/srv", "debug": True}


def test_what_is_wanted_no_more_is_given_back(tmp_path, daemon, monkeypatch):
    owned(monkeypatch)
    before = daemon.read_bytes()
    installed(tmp_path, daemon)
    installer = Installer(str(tmp_path / "state"), "x", False)
    assert installer.install({}, {}) == sorted([str(daemon), str(tmp_path / "new" / "deep" / "unit.service")])
    assert daemon.read_bytes() == before


def test_secrets_are_in_no_diff(tmp_path, monkeypatch):
    owned(monkeypatch)
    installer = Installer(str(tmp_path / "state"), "x", False)
    installer.install({str(tmp_path / "a.secrets.json"): file("very-secret", 0o600)}, {})
    assert "very-secret" not in json.dumps(installer.diff) and "not shown" in json.dumps(installer.diff)


def test_bundle_is_the_same_each_time_and_runs_on_its_own(tmp_path):
    data = bundle.build()
    assert data == bundle.build()
    path = tmp_path / "watch.pyz"
    path.write_bytes(data)
    done = subprocess.run([sys.executable, "-I", "-S", str(path)], capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stderr) == (2, "usage: observe | deliver | schedule\n")
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert any(name.endswith("_observe/logs.py") for name in names), "what is loaded late is there"
    assert not any("/_fix/" in name or "/modules/" in name for name in names)
    assert names == sorted(names)


OPTIONS = {"textfile_directory": "", "confirm_seconds": 20, "memory_mb": 256, "interval_minutes": 5}


def test_units_take_no_text_that_means_something_to_systemd():
    service, timer = units.watch("/usr/bin/python3", "/usr/local/x.pyz", {**OPTIONS, "textfile_directory": "/srv/text"}, contained=False)
    assert "ReadWritePaths=-/var/lib/fediops.mastodon/monitor -/srv/text\n" in service and "OnCalendar=*:0/5\n" in timer
    for hostile in ("/a b", "/a\nExecStart=/bin/sh", "/%h", "relative", "/$X"):
        with pytest.raises(Refused):
            units.watch("/usr/bin/python3", "/x", {**OPTIONS, "textfile_directory": hostile}, contained=False)
    for key, hostile in (("schedule", "daily\nUnit=x"), ("user", "root\nUser=x"), ("user", "-x")):
        with pytest.raises(Refused):
            units.diagnose("/usr/bin/python3", "/x", {"schedule": "daily", "user": "root", "seconds": 60, key: hostile})


def test_only_who_looks_into_containers_may_enter_them():
    closed, inside = (units.watch("/usr/bin/python3", "/x", OPTIONS, contained)[0] for contained in (False, True))
    assert "RestrictNamespaces=yes\n" in closed and "setns" not in closed and "CAP_SYS_ADMIN" not in closed
    assert "RestrictNamespaces=net\n" in inside and "@system-service setns chroot\n" in inside and "CAP_SYS_ADMIN" in inside


CHANNELS = {"command": [], "mail": None, "webhook": None}
MAIL = {
    "to": ["a@example.org"],
    "from": "m@example.org",
    "sendmail": "/bin/true",
    "smtp_host": "",
    "smtp_tls": "starttls",
    "smtp_password": "",
}


@pytest.mark.parametrize(
    ("channel", "value", "sentence"),
    [
        ("command", ["tell"], "absolute path"),
        ("command", ["/no/such/program"], "no program"),
        ("mail", {**MAIL, "to": ["-f@x"]}, "not a mail address"),
        ("mail", {**MAIL, "from": ""}, "from is missing"),
        ("mail", {**MAIL, "from": "a@b\nBcc: c@d"}, "not a mail address"),
        ("mail", {**MAIL, "sendmail": "/no/sendmail"}, "no /no/sendmail"),
        ("mail", {**MAIL, "smtp_host": "mx.example.org", "smtp_tls": "none", "smtp_password": "x"}, "TLS"),
        ("webhook", {"url": "http://chat.example.org", "token": "", "ca_file": ""}, "https"),
    ],
)
def test_channels_are_checked_before_anything_is_written(channel, value, sentence):
    with pytest.raises(Refused, match=sentence):
        parts._channels({**CHANNELS, channel: value})


def test_secrets_of_channels_are_apart():
    webhook = {"url": "https://chat.example.org/secret", "token": "secret", "ca_file": ""}
    found, secrets = parts._channels(
        {"command": ["/bin/true"], "mail": {**MAIL, "smtp_host": "mx", "smtp_password": "secret"}, "webhook": webhook}
    )
    assert "secret" not in json.dumps(found).replace("smtp_", "") and sorted(secrets) == ["smtp_password", "webhook_token", "webhook_url"]


def diagnosis(*found, unknown=(), verdict="faults"):
    findings = [{"id": name, "rank": 1, "severity": "critical", "title": {"en": "T"}} for name in found]
    return {"hosts": {"a": {"findings": findings, "unknown": [{"id": each} for each in unknown], "verdict": verdict}}}


def events(state, found, problem="", now=1000.0):
    notices = schedule.judged(state, found, problem, now, 1)
    return [(host, each["event"], each["issue"]) for host, some in notices.items() for each in some]


def test_diagnosis_by_the_clock_tells_what_is_new_and_what_is_over():
    state = {}
    assert events(state, diagnosis("redis_down")) == [("a", "alert", "redis_down")]
    assert events(state, diagnosis("redis_down", "disk_full")) == [("a", "alert", "disk_full")]
    assert events(state, diagnosis("disk_full", unknown=["redis_down"])) == []
    assert events(state, {}, problem="no Ansible")[0][1:] == ("alert", "diagnosis_failed")
    assert events(state, {}, problem="no Ansible") == []
    assert sorted(event[1:] for event in events(state, diagnosis(verdict="clear"))) == [
        ("clear", "diagnosis_failed"), ("clear", "disk_full"), ("clear", "redis_down"),
    ]  # fmt: skip
    assert events(state, diagnosis(verdict="clear")) == []


def test_what_is_wrong_between_hosts_is_told_of_the_instance():
    instance = {"name": "a", "hosts": ["a", "b"]}
    finding = {"id": "version_drift", "rank": 1, "severity": "warning", "title": {"en": "T"}, "instance": instance}
    found = {**diagnosis(verdict="clear"), "fleet": {"findings": [finding]}}
    state = {}
    assert events(state, found) == [("a (instance)", "alert", "version_drift")]
    assert 'fediops_mastodon_finding{host="a (instance)",issue="version_drift",rank="1"' in schedule.findings(found, 1.0).text()
    assert events(state, {}, problem="no Ansible")[0][1:] == ("alert", "diagnosis_failed")
    gone = events(state, diagnosis(verdict="clear"))
    assert ("a (instance)", "clear", "version_drift") in gone
