# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The explain playbook run for real, with the catalogue and without a server."""

from __future__ import annotations

import json
import pathlib

import jsonschema
import pytest

from ansible_collections.fediops.mastodon.tests.unit.fixtures import ansible_run

ROOT = pathlib.Path(__file__).resolve().parents[4]
SCHEMA = json.loads((ROOT / "plugins/plugin_utils/_report/diagnosis.schema.json").read_text(encoding="utf-8"))
STOPPED = "No Sidekiq process seems to be running for the default, push, mailers, pull, scheduler queue(s)\n"


def explain(folder, *arguments, **environment):
    done = ansible_run.run(
        folder, ROOT / "playbooks/explain.yml", *arguments,
        collections=ROOT / ".ansible" / "collections", ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), **environment,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done


def told_of(folder):
    diagnosis = json.loads((folder / "mastodon-report" / "diagnosis.json").read_text(encoding="utf-8"))
    jsonschema.validate(diagnosis, SCHEMA)
    return diagnosis


@pytest.mark.parametrize(
    ("environment", "command"),
    [
        ({}, "ansible-playbook fediops.mastodon.remediate -i INVENTORY -e mastodon_remediate_impact=prune\n"),
        # Text of the report that is compared, for who started it by make; nothing is run, so that nothing can fail unseen.
        ({"FEDIOPS_MASTODON_MAKE": "make"}, "make remediate INVENTORY=INVENTORY ARGS='-e mastodon_remediate_impact=prune'\n"),
    ],
)
def test_command_for_the_server_of_the_lines(tmp_path, environment, command):
    (tmp_path / "some.log").write_text("Errno::ENOSPC: No space left on device @ rb_sysopen\n", encoding="utf-8")
    done = explain(tmp_path, "-e", "mastodon_log=some.log", **environment)
    assert done.returncode == 0 and command in done.stdout, done.stdout + done.stderr
    told_of(tmp_path)


def test_of_a_server_that_nobody_saw_nothing_is_claimed(tmp_path):
    (tmp_path / "some.log").write_text(STOPPED, encoding="utf-8")
    done = explain(tmp_path, "-e", "mastodon_log=some.log")
    assert done.returncode == 0, done.stdout + done.stderr
    (finding,) = told_of(tmp_path)["hosts"]["some.log"]["findings"]
    assert finding["id"] == "sidekiq_not_running" and finding["fix"] is None and "no_fix" not in finding
    assert "systemctl start mastodon-sidekiq" in " ".join(done.stdout.split())


def test_every_case_is_a_host(tmp_path):
    cases = [
        {"id": "down", "where": "dashboard", "lines": STOPPED},
        {"id": "other", "where": "web", "lines": "[00000000-0000-4000-8000-000000000001] Strange::NewError (nobody knows it):\n"},
        {"id": "fine", "where": "command output", "lines": "OK\n"},
    ]
    (tmp_path / "cases.yml").write_text(json.dumps({"cases": cases}), encoding="utf-8")
    done = explain(tmp_path, "-e", "mastodon_log_cases=cases.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    told = told_of(tmp_path)
    assert {name: host["verdict"] for name, host in told["hosts"].items()} == {"down": "faults", "other": "unclassified", "fine": "clear"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name one log (log, or -e mastodon_log=FILE)"),
        (("-e", "mastodon_log=none.log"), "none.log"),
        (("-e", "mastodon_log=some.log", "-e", "mastodon_log_origin=mail"), "value of log_origin must be one of: auto, web,"),
        (("-e", "mastodon_log=some.log", "-e", "mastodon_version=abc"), 'version "abc" is no version; write it as 4.3.2'),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_sentence(tmp_path, arguments, sentence):
    (tmp_path / "some.log").write_text(STOPPED, encoding="utf-8")
    done = explain(tmp_path, *arguments)
    assert done.returncode != 0 and sentence in done.stdout, done.stdout
    assert not (tmp_path / "mastodon-report").exists()


def test_waivers_from_a_directory(tmp_path):
    (tmp_path / "some.log").write_text(STOPPED, encoding="utf-8")
    (tmp_path / "waivers").mkdir()
    (tmp_path / "waivers" / "ours.yml").write_text("- {id: sidekiq_not_running, reason: moved, until: 2100-01-01}\n", encoding="utf-8")
    done = explain(tmp_path, "-e", "mastodon_log=some.log", "-e", json.dumps({"mastodon_waivers_dirs": [str(tmp_path / "waivers")]}))
    assert done.returncode == 0, done.stdout + done.stderr
    host = told_of(tmp_path)["hosts"]["some.log"]
    assert host["verdict"] == "clear" and [each["reason"] for each in host["waived"]] == ["moved"]
