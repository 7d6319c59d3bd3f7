# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users get wrong, and hosts that cannot be looked at: one clear sentence, a non-zero exit, the other hosts still reported."""

from __future__ import annotations

import json

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import ROOT, Box, ansible, inventory

ENV_FILE = "/home/mastodon/live/.env.production"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box.start("trixie") as started:
        started.ready()
        yield started


def run(folder: Path, *boxes: Box, arguments: tuple[str, ...] = (), **variables: Any) -> tuple[int, str, dict[str, Any] | None]:
    done = ansible(
        ROOT / "playbooks" / "diagnose.yml",
        "-i",
        inventory(folder, *boxes, **variables),
        "-e",
        f"mastodon_report_dir={folder / 'report'}",
        *arguments,
    )
    assert "Traceback" not in done.stdout, done.stdout
    report = folder / "report" / "diagnosis.json"
    return done.returncode, done.stdout, json.loads(report.read_text()) if report.exists() else None


def test_unknown_subset(box: Box, tmp_path: Path) -> None:
    code, output, diagnosis = run(tmp_path, box, arguments=("-e", '{"mastodon_gather_subset": ["databse"]}'))
    assert code != 0
    assert "there is no subset 'databse'; gather_subset knows all, install, services" in output, output
    assert diagnosis is None and not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"LOCAL_DOMAIN=x\nSMTP_PASSWORD='hidden\n", "line 2: the quote that opens the value of SMTP_PASSWORD is never closed"),
        (b"LOCAL_DOMAIN=x\nSMTP_PASSWORD=hid\xffden\n", "line 2: the bytes are not UTF-8"),
        (b"LOCAL_DOMAIN=x\n" + b"#" * (100 << 20), "the file is larger than"),
    ],
    ids=["quote", "not-utf-8", "100-MB"],
)
def test_malformed_env_file(box: Box, tmp_path: Path, content: bytes, sentence: str) -> None:
    before = box.get(ENV_FILE)
    try:
        if len(content) > 1 << 20:
            box.run(["sh", "-c", f"cp {ENV_FILE} /var/tmp/env; head -c {len(content)} /dev/zero | tr '\\0' '#' >>{ENV_FILE}"])
        else:
            box.put(ENV_FILE, before.encode() + content, 0o640, "mastodon:mastodon")
        code, output, diagnosis = run(tmp_path, box)
    finally:
        box.put(ENV_FILE, before, 0o640, "mastodon:mastodon")
    assert code != 0 and diagnosis
    host = diagnosis["hosts"][box.name]
    assert host["probes"]["environment"]["state"] == "failed"
    words = sentence.partition(": ")[2] or sentence
    assert words in host["probes"]["environment"]["reason"] and ENV_FILE in host["probes"]["environment"]["reason"]
    assert words in output, output
    assert "hidden" not in output


def test_typo_in_a_known_issue(box: Box, tmp_path: Path) -> None:
    own = tmp_path / "issues"
    own.mkdir()
    text = (ROOT / "roles/diagnose/files/known_issues/redis_down.yml").read_text()
    (own / "redis_gone.yml").write_text(text.replace("id: redis_down", "id: redis_gone").replace("severity: critical", "severity: criticl"))
    code, output, diagnosis = run(tmp_path, box, arguments=("-e", json.dumps({"mastodon_known_issues_dirs": [str(own)]})))
    assert code != 0 and diagnosis is None
    assert "redis_gone.yml" in output and "severity" in output and '"criticl" is not one of critical, error' in output.replace("\\", ""), (
        output
    )


def test_unreachable_host_does_not_hide_the_others(box: Box, tmp_path: Path) -> None:
    hosts = json.loads(inventory(tmp_path, box).read_text())
    hosts["all"]["hosts"]["gone"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    path = tmp_path / "two.json"
    path.write_text(json.dumps(hosts))
    done = ansible(ROOT / "playbooks" / "diagnose.yml", "-i", path, "-e", f"mastodon_report_dir={tmp_path / 'report'}")
    assert done.returncode != 0
    diagnosis = json.loads((tmp_path / "report" / "diagnosis.json").read_text())
    assert diagnosis["hosts"][box.name]["verdict"] == "clear"
    assert diagnosis["hosts"]["gone"]["verdict"] == "incomplete"
    assert "gone (unreachable" in done.stdout, done.stdout


def test_no_mastodon_says_where_it_looked(box: Box, tmp_path: Path) -> None:
    with Box.start("bookworm") as bare:
        bare.ready()
        # Its stores and its proxy too: a host with one of them may belong to a Mastodon that runs elsewhere.
        bare.run("systemctl disable --now mastodon-web mastodon-sidekiq mastodon-streaming nginx redis-server pgbouncer postgresql")
        bare.run("cd /lib/systemd && rm -f system/nginx* system/redis* system/pgbouncer* system/postgresql* system-generators/postgresql*")
        bare.run("rm -rf /etc/systemd/system/mastodon* && systemctl daemon-reload")
        bare.run("mv /home/mastodon/live /root/elsewhere")
        code, output, diagnosis = run(tmp_path, box, bare)
        assert code != 0 and diagnosis
        assert diagnosis["hosts"][bare.name]["verdict"] == "incomplete"
        assert diagnosis["hosts"][box.name]["verdict"] == "clear"
        (reason,) = (each["reason"] for each in diagnosis["hosts"][bare.name]["unknown"])
        assert "no Mastodon" in reason and "the usual directories /home/mastodon/live" in reason and "no Mastodon" in output


def test_no_privilege_says_what_is_denied_and_how_to_grant_it(box: Box, tmp_path: Path) -> None:
    box.run("chmod 755 /home/mastodon /home/mastodon/live")
    code, output, diagnosis = run(tmp_path, box, arguments=("-e", "ansible_become=false"), ansible_user="nobody")
    assert code != 0 and diagnosis
    probes = diagnosis["hosts"][box.name]["probes"]
    denied = {name for name, probe in probes.items() if probe["state"] == "denied"}
    assert {"environment", "database", "redis", "sidekiq", "logs", "media"} <= denied, probes
    assert all("become: true" in probes[name]["reason"] for name in denied), probes
    assert diagnosis["hosts"][box.name]["verdict"] == "incomplete", output
    assert "denied" in output
