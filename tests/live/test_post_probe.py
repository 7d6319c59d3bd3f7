# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe that posts, as a part of the diagnosis: clear on a healthy server, the right cause and its request on broken ones."""

from __future__ import annotations

import json
import os
import re

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import ONE_SUITE, ROOT, Box, ansible, diagnose, inventory
from relay import left_in_database

TOKEN = "Kanarienvogel-posting-token-20251121"
NOTHING = ("0", "0")


def give_token(box: Box, token: str = TOKEN, scopes: str = "read:statuses write:statuses write:media") -> None:
    box.psql(
        f"INSERT INTO oauth_access_tokens (resource_owner_id, token, scopes, created_at) SELECT id, '{token}', '{scopes}', now() FROM users"
    )


def options(box: Box, folder: Path, **changes: Any) -> list[str]:
    """Arguments that switch the probe on; the token as from a vault, by a file of variables."""
    (folder / "ca.pem").write_text(box.get("/etc/letsencrypt/live/mastodon.test/fullchain.pem"))
    given = {
        "mastodon_probe_post": True, "mastodon_probe_token": TOKEN, "mastodon_probe_address": box.address,
        "mastodon_probe_ca_path": str(folder / "ca.pem"), "mastodon_probe_state_dir": str(folder / "state"), **changes,
    }  # fmt: skip
    (folder / "probe.json").write_text(json.dumps(given))
    return ["-e", f"@{folder / 'probe.json'}"]


def probe(box: Box, folder: Path, **changes: Any) -> dict[str, Any]:
    """The result of the module alone."""
    given = json.loads((folder / "probe.json").read_text()) if options(box, folder, **changes) else {}
    arguments = {name.removeprefix("mastodon_probe_"): value for name, value in given.items() if name != "mastodon_probe_post"}
    ask = {"fediops.mastodon.mastodon_post_probe": arguments, "register": "probe", "ignore_errors": True}
    keep = {"copy": {"content": "{{ probe | to_json }}", "dest": str(folder / "told.json")}, "delegate_to": "localhost"}
    play = [{"hosts": "all", "gather_facts": False, "tasks": [ask, keep]}]
    (folder / "play.json").write_text(json.dumps(play))
    done = ansible(folder / "play.json", "-i", inventory(folder, box, ansible_pipelining=True))
    assert (folder / "told.json").exists(), done.stdout
    told: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return told


@pytest.fixture(scope="module", params=ONE_SUITE)
def healthy(request: pytest.FixtureRequest) -> Iterator[Box]:
    with Box.start(request.param) as box:
        box.ready()
        give_token(box)
        yield box


def test_healthy_is_clear_and_nothing_stays(healthy: Box, tmp_path: Path) -> None:
    diagnosis, output = diagnose(healthy, tmp_path, "-vvvv", *options(healthy, tmp_path))
    host = diagnosis["hosts"][healthy.name]
    assert (host["verdict"], host["unknown"], host["probes"]["probe_post"]["state"]) == ("clear", [], "ok"), output[-3000:]
    posted = {"posting_fails", "post_text_damaged", "probe_left_posts"} | ({"media_post_fails"} if healthy.suite == "trixie" else set())
    assert set(host["passed"]) & {"posting_fails", "post_text_damaged", "media_post_fails", "probe_left_posts"} == posted
    assert left_in_database(healthy) == NOTHING
    assert os.listdir(tmp_path / "state") == []
    for path in (tmp_path / "report").iterdir():
        assert TOKEN not in path.read_text(), path
    assert TOKEN not in output
    assert TOKEN not in healthy.journal()


def test_a_picture_where_it_cannot_be_deleted(healthy: Box, tmp_path: Path) -> None:
    told = probe(healthy, tmp_path, mastodon_probe_media="always", mastodon_probe_url="https://mastodon.test")
    assert told["works"] and set(told["probe_post"]["posts"]) == {"plain", "unicode", "media"}, told
    old = healthy.suite == "bookworm"
    assert [entry.get("gone_within_seconds") for entry in told["probe_post"]["left"]] == ([2 * 86400] if old else []), told
    assert left_in_database(healthy, 5) == (("0", "1") if old else NOTHING)
    healthy.psql("DELETE FROM media_attachments WHERE remote_url = ''")


def test_from_the_host(healthy: Box, tmp_path: Path) -> None:
    """The token goes there through a pipe and is in no file."""
    place = "/etc/letsencrypt/live/mastodon.test/fullchain.pem"
    there = {"mastodon_probe_run_from": "host", "mastodon_probe_address": "127.0.0.1", "mastodon_probe_ca_path": place}
    diagnosis, output = diagnose(healthy, tmp_path, "-vvvv", *options(healthy, tmp_path, **there, mastodon_probe_state_dir=""))
    host = diagnosis["hosts"][healthy.name]
    assert (host["verdict"], host["unknown"], host["probes"]["probe_post"]["state"]) == ("clear", [], "ok"), output[-3000:]
    assert left_in_database(healthy) == NOTHING and TOKEN not in output
    assert healthy.run("ls -A /var/lib/fediops.mastodon/probes").out == ""
    held = healthy.run(f"grep -rls {TOKEN} /tmp /root /home /var/tmp /dev/shm /run /var/lib/fediops.mastodon /var/log", check=False).out
    assert held == ""


def test_check_mode_posts_nothing_and_says_so(healthy: Box, tmp_path: Path) -> None:
    before = healthy.psql("SELECT last_value FROM statuses_id_seq")
    diagnosis, _output = diagnose(healthy, tmp_path, "--check", *options(healthy, tmp_path))
    told = diagnosis["hosts"][healthy.name]["probes"]["probe_post"]
    assert (told["state"], told["reason"]) == ("skipped", "nothing is posted in check mode")
    assert healthy.psql("SELECT last_value FROM statuses_id_seq") == before


def case(name: str, sentence: str, *, thorough: bool = True, **changes: Any) -> Any:
    given = {f"mastodon_probe_{key}": value for key, value in changes.items()}
    return pytest.param(given, sentence, id=name, marks=pytest.mark.thorough if thorough else ())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        case("token", "answered 401: The access token is invalid; the token is not valid here", token="wrong-token", thorough=False),
        case("scope", "answered 403: .* the token needs the scope write:statuses", token="may-only-read"),
        case("name", "https://no-such-name.invalid: ", url="https://no-such-name.invalid", address=""),
        case("certificate", "the certificate is not valid: self.signed certificate", ca_path=""),
        case("url", "url is https:// and the name under which people use the server", url="https://mastodon.test/about"),
        case("state", "nothing was posted, for what may have to be deleted later", state_dir="/proc/none"),
    ],
)
def test_what_says_nothing_of_the_server_is_unknown(healthy: Box, tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    if changes.get("mastodon_probe_token") == "may-only-read":
        healthy.psql("DELETE FROM oauth_access_tokens WHERE token = 'may-only-read'")
        give_token(healthy, "may-only-read", "read")
    subsets = {"mastodon_gather_subset": ["environment"]}
    diagnosis, output = diagnose(healthy, tmp_path, "-e", json.dumps(subsets), *options(healthy, tmp_path, **changes))
    host = diagnosis["hosts"][healthy.name]
    assert host["probes"]["probe_post"]["state"] == "failed" and host["findings"] == [], host
    assert re.search(sentence, host["probes"]["probe_post"]["reason"]), host["probes"]["probe_post"]
    assert {"posting_fails", "post_text_damaged", "media_post_fails"} <= {entry["id"] for entry in host["unknown"]}
    assert "failed=1" in output and "Traceback" not in output
    assert left_in_database(healthy) == NOTHING


@pytest.mark.thorough
@pytest.mark.parametrize("values", [{"mastodon_probe_token": ""}, {"mastodon_probe_token": "two words"}, {"mastodon_probe_timeout": 0}])
def test_wrong_options_are_one_sentence(healthy: Box, tmp_path: Path, values: dict[str, Any]) -> None:
    playbook = ROOT / "playbooks" / "diagnose.yml"
    done = ansible(playbook, "-i", inventory(tmp_path, healthy), *options(healthy, tmp_path, **values), cwd=tmp_path)
    assert done.returncode != 0 and "Traceback" not in done.stdout and "two words" not in done.stdout
    assert ("token is the access token" if "mastodon_probe_token" in values else "timeout is a number of seconds") in done.stdout


def traced(box: Box, folder: Path, request_id: str) -> list[str]:
    """Causes that the trace of a request names, by the command that the advice has."""
    playbook = ROOT / "playbooks" / "trace.yml"
    ansible(playbook, "-i", inventory(folder, box), "-e", f"request_id={request_id}", "-e", f"mastodon_report_dir={folder / 'report'}")
    trace = json.loads((folder / "report" / "trace.json").read_text())
    assert any(request_id in line["text"] for line in trace["lines"]), trace
    return [finding["id"] for finding in trace["findings"]]


FAULTS = {
    # fault: (cause, what people see, step, part); the first in the short run
    "database_filesystem_full": ("disk_full", "posting_fails", "(create|reach)", "plain"),
    "encoding_latin1": ("encoding_not_utf8", "post_text_damaged", "create", "unicode"),
    "media_owned_by_root": ("media_permissions", "media_post_fails", "upload", "media"),
    "web_stopped": ("web_down_502", "posting_fails", "reach", "plain"),
    "nginx_stopped": ("proxy_down", "posting_fails", "reach", "plain"),
}


@pytest.mark.parametrize("suite", ONE_SUITE)
@pytest.mark.parametrize("fault", [pytest.param(name, marks=pytest.mark.thorough if number else ()) for number, name in enumerate(FAULTS)])
def test_what_fails_is_explained_and_leads_to_its_request(fault: str, suite: str, tmp_path: Path) -> None:
    cause, symptom, step, part = FAULTS[fault]
    with Box.start(suite, loop=True) as box:
        box.ready()
        give_token(box)
        diagnosis, output = diagnose(box, tmp_path, *options(box, tmp_path, mastodon_probe_media="always"), plant=fault)
        host = diagnosis["hosts"][box.name]
        found = {finding["id"]: finding for finding in host["findings"]}
        assert [name for name, finding in found.items() if finding["rank"] == 1] == [cause], (found, host["unknown"], output[-3000:])
        finding = found[symptom]
        assert finding["rank"] > 1 and re.match(f"{step}: ", finding["evidence"][0]["value"]), finding
        assert finding["evidence"][0]["fact"] == f"probe_post.posts.{part}"
        request = re.search(r"request ([\w-]{36})", finding["evidence"][1]["value"])
        assert request and f"fediops.mastodon.trace -e request_id={request[1]} " in finding["advice"]["en"], finding
        if step != "reach":
            assert any(entry["fact"] == "logs.exceptions" for entry in finding["evidence"] if "fact" in entry), finding
            assert cause in traced(box, tmp_path, request[1])
        # Before 4.4 Mastodon deletes an upload that no post has by itself, later: the one beside the refused posts is still there.
        stays = suite == "bookworm" and fault == "encoding_latin1"
        if fault != "database_filesystem_full":
            assert left_in_database(box, 5 if stays else 15) == ("0", "1" if stays else "0")


@pytest.mark.thorough
def test_an_encoding_that_keeps_bytes_is_no_failure(tmp_path: Path) -> None:
    """SQL_ASCII stores what it gets: posts come back whole, and the encoding is named by the facts of the database."""
    with Box.start("trixie") as box:
        box.ready()
        give_token(box)
        diagnosis, output = diagnose(box, tmp_path, *options(box, tmp_path), plant="encoding_sql_ascii")
        host = diagnosis["hosts"][box.name]
        assert [finding["id"] for finding in host["findings"] if finding["rank"] == 1] == ["encoding_not_utf8"], output[-3000:]
        assert "post_text_damaged" in host["passed"], host["findings"]
        assert left_in_database(box) == NOTHING
