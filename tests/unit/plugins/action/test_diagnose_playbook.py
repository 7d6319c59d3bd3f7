# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The diagnose playbook run for real on recorded facts, with the known issues of the fixtures."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import sys

import jsonschema
import pytest
import yaml

from ansible_collections.fediops.mastodon.plugins.plugin_utils._catalogue import OWN_DIRECTORY
from ansible_collections.fediops.mastodon.tests.unit.fixtures import ansible_run, hosts

ROOT = OWN_DIRECTORY.parents[3]


@pytest.fixture(scope="module")
def collections(tmp_path_factory):
    """The collection as it would be installed, its catalogue replaced by that of the fixtures."""
    path = tmp_path_factory.mktemp("collections")
    collection = path / "ansible_collections" / "fediops" / "mastodon"
    for name in ("meta", "playbooks", "plugins", "roles"):
        shutil.copytree(ROOT / name, collection / name, ignore=shutil.ignore_patterns("__pycache__", "known_issues"))
    shutil.copytree(hosts.KNOWN_ISSUES, collection / "roles/diagnose/files/known_issues")
    shutil.copy(ROOT / "galaxy.yml", collection)
    return path


@pytest.fixture
def play(collections, tmp_path):
    def run(facts, *arguments, others=None, playbook="fediops.mastodon.diagnose"):
        inventory = {
            "all": {"vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}, "hosts": {**(others or {})}}
        }
        for name, fact in facts.items():
            (tmp_path / f"{name}.json").write_text(json.dumps({"ansible_facts": {"mastodon": fact}}), encoding="utf-8")
            inventory["all"]["hosts"][name] = {"mastodon_recorded_facts": str(tmp_path / f"{name}.json")}
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        return ansible_run.run(tmp_path, playbook, "-i", "inventory.yml", *arguments, collections=collections)

    return run


def report_of(tmp_path):
    return json.loads((tmp_path / "mastodon-report" / "diagnosis.json").read_text(encoding="utf-8"))


def after_recap(result):
    return result.stdout.partition("PLAY RECAP")[2]


def test_the_verdict_is_the_last_of_all_output(play, tmp_path):
    result = play({"web1": hosts.broken(), "db1": hosts.healthy()})
    assert result.returncode == 0, result.stdout + result.stderr
    told = after_recap(result)
    assert re.search(
        r"web1 +FAULTS  1 root cause, 4 symptoms explained  \[recorded facts, host not asked\]\n  x critical  disk_full   / has 0 B", told
    )
    assert told.rstrip().endswith(f"Report: {tmp_path}/mastodon-report/index.html")
    assert "changed=0" in told
    assert not re.search(r"changed=[1-9]|failed=[1-9]|unreachable=[1-9]", told)
    assert sorted(path.name for path in (tmp_path / "mastodon-report").iterdir()) == [
        "diagnosis.json",
        "index.html",
        "junit.xml",
        "report.md",
    ]
    diagnosis = report_of(tmp_path)
    schema = json.loads((ROOT / "plugins/plugin_utils/_report/diagnosis.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(diagnosis, schema)
    assert diagnosis["verdict"] == "faults"
    assert diagnosis["hosts"]["web1"]["recorded"] is True
    assert "WARNING" not in result.stdout + result.stderr


def test_check_mode_gives_the_same(play, tmp_path):
    assert play({"web1": hosts.broken()}, "--check", "--diff").returncode == 0
    assert report_of(tmp_path)["verdict"] == "faults"


def test_strangers_text_is_never_rendered(play, tmp_path):
    facts = hosts.hostile()
    marker = tmp_path / "pwned"
    facts["database"]["error"]["message"] = f"{{{{ lookup('pipe', 'touch {marker}') }}}} {{% for x in y %}}"
    result = play({"web3": facts}, "-v")
    assert "{{ lookup('pipe','id') }}" in re.sub(r"\s+", " ", result.stdout)
    assert "uid=" not in result.stdout
    assert not marker.exists()
    evidence = [entry["value"] for finding in report_of(tmp_path)["hosts"]["web3"]["findings"] for entry in finding["evidence"]]
    assert f"refused: {{{{ lookup('pipe', 'touch {marker}') }}}} {{% for x in y %}}" in evidence
    assert result.returncode == 2  # media was denied
    assert "1 of 1 host could not be fully checked: web3 (media denied" in result.stdout + result.stderr


def test_an_unreachable_host_fails_the_run_and_the_others_are_reported(play, tmp_path):
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    result = play({"web1": hosts.broken()}, others={"aaa": gone})
    assert result.returncode != 0
    assert "1 of 2 hosts could not be fully checked: aaa (unreachable: " in result.stdout + result.stderr
    assert "x critical  disk_full" in after_recap(result)
    assert report_of(tmp_path)["hosts"]["aaa"]["verdict"] == "incomplete"


def test_no_mastodon_says_where_it_looked(play):
    result = play({"bare": hosts.healthy(install={"found": False, "searched": ["units that run Puma"]})})
    assert result.returncode != 0
    assert "bare (no Mastodon found on this host; looked at units that run Puma)" in result.stdout + result.stderr


def test_fail_on(play):
    assert play({"web1": hosts.broken()}, "-e", "mastodon_fail_on=critical").returncode == 2
    facts = hosts.healthy()
    facts["sidekiq"]["queues"][0].update(latency_seconds=7300.0)
    assert play({"web1": facts}, "-e", "mastodon_fail_on=error").returncode == 0
    result = play({"web1": facts}, "-e", "mastodon_fail_on=warning")
    assert result.returncode == 2
    assert "1 of 1 host has findings of severity warning or worse (web1: sidekiq_backlog)" in result.stdout + result.stderr
    assert "x warning  sidekiq_backlog" in after_recap(result)


def test_french(play):
    result = play({"web1": hosts.broken()}, "-e", "mastodon_language=fr")
    assert "PANNES  1 cause racine" in after_recap(result)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ({"mastodon_fail_on": "often"}, "value of mastodon_fail_on must be one of: never, critical, error, warning, got: often"),
        ({"mastodon_language": "de"}, "value of mastodon_language must be one of: en, fr, got: de"),
        ({"mastodon_gather_timeout": "soon"}, "mastodon_gather_timeout"),
        ({"mastodon_report_formats": ["pdf"]}, "mastodon_report_formats"),
        ({"mastodon_waivers": [{"id": "disk_full"}]}, "missing required arguments: reason, until"),
        ({"mastodon_waivers": [{"id": "disc_full", "reason": "x", "until": "2026-01-01"}]}, '"disc_full" is not the id of a known issue'),
        ({"mastodon_known_issues_dirs": ["/nowhere/at/all"]}, "directory of known issues /nowhere/at/all cannot be read"),
        ({"mastodon_recorded_facts": "/nowhere.json"}, "recorded facts /nowhere.json cannot be read: No such file or directory"),
        ({"mastodon_recorded_facts": "/dev/null"}, "recorded facts /dev/null are not valid JSON"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(play, tmp_path, argument, sentence):
    result = play({"web1": hosts.broken()}, "-e", json.dumps(argument))
    assert result.returncode != 0
    assert sentence in (result.stdout + result.stderr).replace('\\"', '"')
    assert "Traceback" not in result.stdout + result.stderr
    assert not (tmp_path / "mastodon-report").exists()


def test_a_typo_in_a_known_issue_names_file_key_and_reason(play, tmp_path):
    (tmp_path / "mine").mkdir()
    text = (hosts.KNOWN_ISSUES / "web_down_502.yml").read_text(encoding="utf-8").replace("severity: critical", "severity: criticl")
    (tmp_path / "mine" / "web_down_502.yml").write_text(text, encoding="utf-8")
    result = play({"web1": hosts.broken()}, "-e", json.dumps({"mastodon_known_issues_dirs": ["mine"]}))
    assert result.returncode != 0
    told = (result.stdout + result.stderr).replace('\\"', '"')
    assert f'{tmp_path}/mine/web_down_502.yml, key "severity": "criticl" is not one of critical, error, warning, advice' in told
    assert not (tmp_path / "mastodon-report").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(play, tmp_path):
    (tmp_path / "mastodon-report").write_text("mine", encoding="utf-8")
    result = play({"web1": hosts.broken()})
    assert result.returncode != 0
    assert "the report cannot be written to" in result.stdout + result.stderr
    assert (tmp_path / "mastodon-report").read_text(encoding="utf-8") == "mine"


def test_wrong_facts_of_one_host_do_not_stop_the_others(play, tmp_path):
    (tmp_path / "odd.json").write_text("[]", encoding="utf-8")
    result = play({"web1": hosts.broken()}, others={"odd": {"mastodon_recorded_facts": str(tmp_path / "odd.json")}})
    assert result.returncode != 0
    assert "odd (recorded facts" in result.stdout + result.stderr
    assert "x critical  disk_full" in after_recap(result)


def test_in_another_playbook_the_text_is_shown_by_the_task(play, tmp_path):
    own = [{"hosts": "all", "gather_facts": False, "roles": ["fediops.mastodon.diagnose"]}]
    (tmp_path / "own.yml").write_text(yaml.safe_dump(own), encoding="utf-8")
    result = play({"web1": hosts.broken()}, playbook="own.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "x critical  disk_full" in result.stdout.partition("PLAY RECAP")[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-e", "mastodon_hosts=web9"), 'nothing in the inventory matches mastodon_hosts "web9"'),
        (("-e", "mastodon_hosts=web1:web2", "--limit", "db1"), 'matches mastodon_hosts "web1:web2" within --limit "db1"'),
        (("--limit", "web9"), "leaves us with no hosts to target"),  # Ansible's own sentence
    ],
)
def test_a_pattern_that_matches_nothing_is_no_success(play, tmp_path, arguments, sentence):
    result = play({"web1": hosts.healthy(), "db1": hosts.healthy()}, *arguments)
    assert result.returncode == 1
    assert sentence in re.sub(r"\s+", " ", result.stdout + result.stderr)
    assert "Traceback" not in result.stdout + result.stderr
    assert not (tmp_path / "mastodon-report").exists()


def test_an_inventory_without_hosts_is_no_success(play):
    result = play({})
    assert result.returncode == 1
    assert 'no host was looked at: nothing in the inventory matches mastodon_hosts "all"' in re.sub(
        r"\s+", " ", result.stdout + result.stderr
    )


def test_a_play_of_others_may_have_no_host(play, tmp_path):
    own = [{"hosts": "web9", "gather_facts": False, "tasks": []}, {"import_playbook": "fediops.mastodon.diagnose"}]
    (tmp_path / "own.yml").write_text(yaml.safe_dump(own), encoding="utf-8")
    assert play({"web1": hosts.healthy()}, playbook="own.yml").returncode == 0
    assert play({"web1": hosts.healthy()}, "-e", "mastodon_hosts=web9", playbook="own.yml").returncode == 1


def test_each_host_meets_three_tasks():
    tasks = yaml.safe_load((ROOT / "roles/diagnose/tasks/main.yml").read_text(encoding="utf-8"))
    assert len(tasks) == 3


def test_defaults_are_those_of_the_argument_specs():
    role = pathlib.Path(ROOT / "roles/diagnose")
    options = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    assert yaml.safe_load((role / "defaults/main.yml").read_text(encoding="utf-8")) == {
        name: option["default"] for name, option in options.items()
    }
